#include "cuts.h"

#define LONGEST 2000   /* characters of a paragraph: a few milliseconds */
#define WORD_LENGTH 64 /* where words are longer, one is cut */

void moe_cuts_init(MoeCuts *cuts, GtkTextView *view)
{
    *cuts = (MoeCuts){.view = view,
                      .buffer = gtk_text_view_get_buffer(view),
                      .at = g_array_new(FALSE, FALSE, sizeof(int))};
    cuts->hidden = gtk_text_buffer_create_tag(cuts->buffer, NULL, "invisible", TRUE, NULL);
}

void moe_cuts_clear(MoeCuts *cuts)
{
    g_clear_handle_id(&cuts->idle, g_source_remove);
    g_clear_pointer(&cuts->at, g_array_unref);
}

/* --- offsets --- */

static int cut_at(const MoeCuts *cuts, guint i)
{
    return g_array_index(cuts->at, int, i);
}

/* How many cuts lie before the character at `offset`, in the text, or with `buffer` in the buffer.
 */
static guint count_before(const MoeCuts *cuts, int offset, gboolean buffer)
{
    guint low = 0, high = cuts->at->len;
    while (low < high) {
        guint middle = (low + high) / 2;
        gboolean before =
            buffer ? cut_at(cuts, middle) + (int)middle < offset : cut_at(cuts, middle) <= offset;
        if (before)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int moe_cuts_to_buffer(const MoeCuts *cuts, int offset)
{
    return offset + (int)count_before(cuts, offset, FALSE);
}

int moe_cuts_to_text(const MoeCuts *cuts, int offset)
{
    return offset - (int)count_before(cuts, offset, TRUE);
}

int moe_cuts_get_length(const MoeCuts *cuts)
{
    return gtk_text_buffer_get_char_count(cuts->buffer) - (int)cuts->at->len;
}

/* --- cutting --- */

/* Where a word begins, at or before *at. */
static void find_word(const GtkTextIter *start, GtkTextIter *at)
{
    GtkTextIter before = *at;
    for (int i = 0; i < WORD_LENGTH && gtk_text_iter_backward_char(&before); i++) {
        if (gtk_text_iter_compare(&before, start) <= 0)
            break;
        if (g_unichar_isspace(gtk_text_iter_get_char(&before))) {
            *at = before;
            gtk_text_iter_forward_char(at);
            return;
        }
    }
    if (!gtk_text_iter_is_cursor_position(at))
        gtk_text_iter_backward_cursor_position(at);
}

/* Of the paragraph that begins at *start. By offsets, as GTK 4.8 counts 10000 characters too many
 * (gtk_text_iter_get_chars_in_line) in the line after what was inserted with a tag. */
static int paragraph_length(const GtkTextIter *start)
{
    GtkTextIter end = *start;
    if (!gtk_text_iter_ends_line(&end))
        gtk_text_iter_forward_to_line_end(&end);
    return gtk_text_iter_get_offset(&end) - gtk_text_iter_get_offset(start);
}

/* Cuts the paragraph that begins at *start once, if it is too long; *start is then what comes after
 * the cut. With `wrapped` it is laid out, to see where its lines begin. */
static gboolean cut_paragraph(MoeCuts *cuts, GtkTextIter *start, gboolean wrapped)
{
    if (paragraph_length(start) <= LONGEST)
        return FALSE;
    GtkTextIter at = *start;
    gtk_text_iter_forward_chars(&at, LONGEST);
    if (wrapped)
        gtk_text_view_backward_display_line_start(cuts->view, &at);
    if (!wrapped || gtk_text_iter_compare(&at, start) <= 0) {
        at = *start;
        gtk_text_iter_forward_chars(&at, LONGEST);
        find_word(start, &at);
    }
    int offset = moe_cuts_to_text(cuts, gtk_text_iter_get_offset(&at));
    cuts->changing = TRUE;
    gtk_text_buffer_insert_with_tags(cuts->buffer, &at, "\n", 1, cuts->hidden, NULL);
    cuts->changing = FALSE;
    g_array_insert_val(cuts->at, count_before(cuts, offset, FALSE), offset);
    *start = at;
    return TRUE;
}

static gboolean has_width(const MoeCuts *cuts)
{
    return gtk_widget_get_width(GTK_WIDGET(cuts->view)) > 0;
}

/* A little text at a time is wrapped as it comes. Much of it, as of a text that is opened, is cut
 * anywhere between words first, which needs no layout. */
void moe_cuts_add(MoeCuts *cuts, int from)
{
    GtkTextIter at;
    gboolean little = moe_cuts_get_length(cuts) - from <= LONGEST;
    guint before = cuts->at->len;
    gtk_text_buffer_get_iter_at_offset(cuts->buffer, &at, moe_cuts_to_buffer(cuts, from));
    gtk_text_iter_set_line_offset(&at, 0);
    do {
        while (cut_paragraph(cuts, &at, little && has_width(cuts)))
            ;
    } while (gtk_text_iter_forward_line(&at));
    if (cuts->at->len > before && !(little && has_width(cuts)))
        moe_cuts_wrap(cuts);
}

void moe_cuts_truncate(MoeCuts *cuts, int length)
{
    guint n = cuts->at->len;
    while (n > 0 && cut_at(cuts, n - 1) >= length)
        n--;
    g_array_set_size(cuts->at, n);
    cuts->next = MIN(cuts->next, n);
}

/* --- where lines are wrapped --- */

/* Takes a cut out and cuts where lines are wrapped now; what follows is then the next one's. */
static void move_cut(MoeCuts *cuts)
{
    GtkTextIter start, end;
    int offset = cut_at(cuts, cuts->next) + (int)cuts->next;
    gtk_text_buffer_get_iter_at_offset(cuts->buffer, &start, offset);
    end = start;
    gtk_text_iter_forward_char(&end);
    g_array_remove_index(cuts->at, cuts->next);
    cuts->changing = TRUE;
    gtk_text_buffer_delete(cuts->buffer, &start, &end);
    cuts->changing = FALSE;
    gtk_text_iter_set_line_offset(&start, 0);
    for (; cut_paragraph(cuts, &start, TRUE); cuts->next++)
        ;
}

static gboolean move_next(gpointer data)
{
    MoeCuts *cuts = data;
    if (has_width(cuts) && cuts->next < cuts->at->len)
        move_cut(cuts);
    if (has_width(cuts) && cuts->next < cuts->at->len)
        return G_SOURCE_CONTINUE;
    cuts->idle = 0;
    return G_SOURCE_REMOVE;
}

void moe_cuts_wrap(MoeCuts *cuts)
{
    cuts->next = 0;
    if (cuts->idle == 0 && cuts->at->len > 0)
        cuts->idle = g_idle_add_full(G_PRIORITY_LOW, move_next, cuts, NULL);
}
