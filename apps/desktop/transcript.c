#include "transcript.h"

#include "application.h"
#include "cuts.h"

#define N_TINTS 8 /* shades that weights are rounded to */
/* Pixels, a line or so. GTK itself moves a text back by less as it lays out what is above: it drops
 * fractions of a pixel in the middle of an animation, and the margin at the top. */
#define SLACK 24

/* Offsets are those of characters in the text, which the buffer has cuts in. */
struct block {
    int begin; /* of what separates it from the one before, */
    int start; /* and of its text */
};

struct span {
    int start, end; /* equal: no characters */
};

struct _MoeTranscript {
    GtkWidget parent;
    GtkScrolledWindow *scroller;
    GtkTextView *view;
    GtkTextBuffer *buffer;
    GtkTextTag *label, *prompt, *selection, *tints[N_TINTS];
    MoeCuts cuts;
    GArray *blocks; /* struct block, one a message */
    GArray *spans;  /* struct span, by position */
    int selected;
    gboolean labelled;
    gboolean changing;     /* the text; the cursor moves by itself */
    gboolean following;    /* the end, as text comes: until somebody scrolls up */
    double scrolled;       /* as far as it was while it followed */
    double width;          /* that its lines were wrapped for last */
    guint wrapping;        /* idle that sees to another width; 0: none */
    gboolean follow_again; /* afterwards */
    guint catching_up;     /* idle that scrolls to where the end is now; 0: none */
};

G_DEFINE_FINAL_TYPE(MoeTranscript, moe_transcript, GTK_TYPE_WIDGET)

enum { TOKEN_SELECTED, N_SIGNALS };
static guint signals[N_SIGNALS];

static void get_range(MoeTranscript *self, int start, int end, GtkTextIter *from, GtkTextIter *to)
{
    gtk_text_buffer_get_iter_at_offset(self->buffer, from, moe_cuts_to_buffer(&self->cuts, start));
    gtk_text_buffer_get_iter_at_offset(self->buffer, to, moe_cuts_to_buffer(&self->cuts, end));
}

static const struct span *span_of(MoeTranscript *self, int position)
{
    return position >= 0 && (guint)position < self->spans->len
               ? &g_array_index(self->spans, struct span, position)
               : NULL;
}

/* --- selection --- */

static void mark_selected(MoeTranscript *self)
{
    GtkTextIter from, to;
    const struct span *span = span_of(self, self->selected);
    gtk_text_buffer_get_bounds(self->buffer, &from, &to);
    gtk_text_buffer_remove_tag(self->buffer, self->selection, &from, &to);
    if (!span)
        return;
    get_range(self, span->start, span->end, &from, &to);
    gtk_text_buffer_apply_tag(self->buffer, self->selection, &from, &to);
}

void moe_transcript_select(MoeTranscript *self, int position)
{
    if (!span_of(self, position))
        position = -1;
    if (position == self->selected)
        return;
    self->selected = position;
    mark_selected(self);
    g_signal_emit(self, signals[TOKEN_SELECTED], 0, position);
}

int moe_transcript_get_selected(MoeTranscript *self)
{
    return self->selected;
}

/* The token of the character after the cursor. */
static void on_cursor(MoeTranscript *self)
{
    GtkTextIter cursor;
    if (self->changing || self->cuts.changing || gtk_text_buffer_get_has_selection(self->buffer))
        return;
    gtk_text_buffer_get_iter_at_mark(self->buffer, &cursor,
                                     gtk_text_buffer_get_insert(self->buffer));
    int at = moe_cuts_to_text(&self->cuts, gtk_text_iter_get_offset(&cursor)), found = -1;
    for (guint i = 0; i < self->spans->len && found < 0; i++) {
        const struct span *span = &g_array_index(self->spans, struct span, i);
        if (span->start <= at && at < span->end)
            found = (int)i;
    }
    moe_transcript_select(self, found);
}

/* --- text --- */

/* Text that came and is not laid out yet, or is being scrolled to, is nobody's wish to stay. */
static void on_scrolled(MoeTranscript *self, GtkAdjustment *a)
{
    double value = gtk_adjustment_get_value(a);
    gboolean at_end =
        value + gtk_adjustment_get_page_size(a) >= gtk_adjustment_get_upper(a) - SLACK;
    gboolean wrapping = self->wrapping != 0 || self->cuts.idle != 0; /* which moves it, too */
    self->following = at_end || (self->following && (wrapping || value >= self->scrolled - SLACK));
    if (at_end || wrapping || value > self->scrolled)
        self->scrolled = value;
}

static int end_offset(MoeTranscript *self)
{
    return moe_cuts_get_length(&self->cuts);
}

static void append(MoeTranscript *self, const char *text, GtkTextTag *tag)
{
    GtkTextIter end, start;
    int offset = end_offset(self);
    gtk_text_buffer_get_end_iter(self->buffer, &end);
    self->changing = TRUE;
    gtk_text_buffer_insert(self->buffer, &end, text, -1);
    self->changing = FALSE;
    if (tag) {
        get_range(self, offset, end_offset(self), &start, &end);
        gtk_text_buffer_apply_tag(self->buffer, tag, &start, &end);
    }
    moe_cuts_add(&self->cuts, offset);
}

static void scroll_to_end(MoeTranscript *self)
{
    GtkTextIter end;
    gtk_text_buffer_get_end_iter(self->buffer, &end);
    GtkTextMark *mark = gtk_text_buffer_get_mark(self->buffer, "end");
    gtk_text_buffer_move_mark(self->buffer, mark, &end);
    gtk_text_view_scroll_mark_onscreen(self->view, mark);
}

/* From wherever it is now. */
static void follow(MoeTranscript *self)
{
    self->following = TRUE;
    self->scrolled = gtk_adjustment_get_value(gtk_scrolled_window_get_vadjustment(self->scroller));
    scroll_to_end(self);
}

void moe_transcript_append(MoeTranscript *self, const char *text)
{
    if (!*text)
        return;
    append(self, text, NULL);
    if (self->following)
        scroll_to_end(self);
}

static const char *label_of(vkmoe_chat_role role)
{
    return role == VKMOE_CHAT_SYSTEM ? "System" : role == VKMOE_CHAT_USER ? "You" : "Model";
}

void moe_transcript_add_message(MoeTranscript *self, vkmoe_chat_role role, const char *text)
{
    struct block block = {.begin = end_offset(self)};
    if (self->labelled) {
        g_autofree char *label =
            g_strdup_printf("%s%s\n", block.begin > 0 ? "\n\n" : "", label_of(role));
        append(self, label, self->label);
    }
    block.start = end_offset(self);
    g_array_append_val(self->blocks, block);
    append(self, text, role == VKMOE_CHAT_ASSISTANT || self->labelled ? NULL : self->prompt);
    follow(self);
}

void moe_transcript_truncate(MoeTranscript *self, guint count)
{
    GtkTextIter from, to;
    if (count >= self->blocks->len)
        return;
    int begin = g_array_index(self->blocks, struct block, count).begin;
    guint spans = self->spans->len;
    while (spans > 0 && g_array_index(self->spans, struct span, spans - 1).end >= begin &&
           g_array_index(self->spans, struct span, spans - 1).start >= begin)
        spans--;
    g_array_set_size(self->blocks, count);
    g_array_set_size(self->spans, spans);
    if (!span_of(self, self->selected))
        moe_transcript_select(self, -1);
    moe_cuts_truncate(&self->cuts, begin);
    get_range(self, begin, begin, &from, &to);
    gtk_text_buffer_get_end_iter(self->buffer, &to);
    self->changing = TRUE;
    gtk_text_buffer_delete(self->buffer, &from, &to);
    self->changing = FALSE;
}

void moe_transcript_clear(MoeTranscript *self)
{
    g_array_set_size(self->spans, 0);
    g_array_set_size(self->blocks, 0);
    moe_transcript_select(self, -1);
    moe_cuts_truncate(&self->cuts, 0);
    self->changing = TRUE;
    gtk_text_buffer_set_text(self->buffer, "", 0);
    self->changing = FALSE;
}

void moe_transcript_set_labelled(MoeTranscript *self, gboolean labelled)
{
    self->labelled = labelled;
}

guint moe_transcript_get_n_messages(MoeTranscript *self)
{
    return self->blocks->len;
}

char *moe_transcript_get_text(MoeTranscript *self)
{
    GtkTextIter start, end;
    gtk_text_buffer_get_bounds(self->buffer, &start, &end);
    return gtk_text_buffer_get_text(self->buffer, &start, &end, FALSE);
}

GtkTextView *moe_transcript_get_view(MoeTranscript *self)
{
    return self->view;
}

/* --- tokens --- */

void moe_transcript_add_tokens(MoeTranscript *self, const MoeToken *tokens, guint count,
                               gboolean anew)
{
    if (anew)
        g_array_set_size(self->spans, 0);
    for (guint i = 0; i < count; i++) {
        struct span span = {0};
        if (tokens[i].message < self->blocks->len) {
            const struct block *b = &g_array_index(self->blocks, struct block, tokens[i].message);
            span.start = b->start + (int)tokens[i].start;
            span.end = span.start + (int)tokens[i].length;
        }
        if (tokens[i].position >= self->spans->len)
            g_array_set_size(self->spans, tokens[i].position + 1);
        g_array_index(self->spans, struct span, tokens[i].position) = span;
    }
    if (anew)
        mark_selected(self);
}

guint moe_transcript_get_n_tokens(MoeTranscript *self)
{
    return self->spans->len;
}

char *moe_transcript_dup_token_text(MoeTranscript *self, int position)
{
    GtkTextIter from, to;
    const struct span *span = span_of(self, position);
    if (!span)
        return g_strdup("");
    get_range(self, span->start, span->end, &from, &to);
    return gtk_text_buffer_get_text(self->buffer, &from, &to, FALSE);
}

void moe_transcript_tint(MoeTranscript *self, guint first, const float *weights, guint count)
{
    GtkTextIter from, to;
    gtk_text_buffer_get_bounds(self->buffer, &from, &to);
    for (guint i = 0; i < N_TINTS; i++)
        gtk_text_buffer_remove_tag(self->buffer, self->tints[i], &from, &to);
    for (guint i = 0; i < count && first + i < self->spans->len; i++) {
        const struct span *span = &g_array_index(self->spans, struct span, first + i);
        if (!(weights[i] > 0) || span->start == span->end)
            continue;
        float shade = weights[i] < 1 ? weights[i] * N_TINTS : N_TINTS - 1;
        get_range(self, span->start, span->end, &from, &to);
        gtk_text_buffer_apply_tag(self->buffer, self->tints[(int)shade], &from, &to);
    }
}

/* --- the widget --- */

/* Another width: lines are wrapped elsewhere, and the end is somewhere else. */
static gboolean wrap_anew(gpointer data)
{
    MoeTranscript *self = data;
    self->wrapping = 0;
    moe_cuts_wrap(&self->cuts);
    if (self->follow_again)
        follow(self);
    return G_SOURCE_REMOVE;
}

/* In the middle of being allocated; it is told, too, where the width stays as it is. */
static void on_width(MoeTranscript *self, GParamSpec *spec, GtkAdjustment *a)
{
    double width = gtk_adjustment_get_page_size(a);
    (void)spec;
    if (self->wrapping != 0 || width == self->width)
        return;
    self->width = width;
    self->follow_again = self->following;
    self->wrapping = g_idle_add(wrap_anew, self);
}

/* Colours that are seen on light and on dark, as they let the background through. */
static void make_tags(MoeTranscript *self)
{
    for (guint i = 0; i < N_TINTS; i++) {
        const GdkRGBA shade = {0.90f, 0.45f, 0.0f, 0.15f + 0.60f * (float)i / (N_TINTS - 1)};
        self->tints[i] =
            gtk_text_buffer_create_tag(self->buffer, NULL, "background-rgba", &shade, NULL);
    }
    const GdkRGBA chosen = {0.20f, 0.50f, 0.90f, 0.45f};
    self->label = gtk_text_buffer_create_tag(self->buffer, NULL, "weight", PANGO_WEIGHT_BOLD,
                                             "scale", 0.85, NULL);
    self->prompt =
        gtk_text_buffer_create_tag(self->buffer, NULL, "weight", PANGO_WEIGHT_SEMIBOLD, NULL);
    self->selection = gtk_text_buffer_create_tag(self->buffer, NULL, "background-rgba", &chosen,
                                                 "underline", PANGO_UNDERLINE_SINGLE, NULL);
}

static gboolean catch_up(gpointer data)
{
    MoeTranscript *self = data;
    self->catching_up = 0;
    if (self->following)
        scroll_to_end(self);
    return G_SOURCE_REMOVE;
}

/* Lines that are laid out only as they come in sight move the end on, from those who are there. */
static void on_grown(MoeTranscript *self)
{
    if (self->following && self->catching_up == 0)
        self->catching_up = g_idle_add(catch_up, self);
}

/* Before the view hears of it, which lays out what is in sight then, and is longer than what
 * somebody saw who went to the end. */
static void watch_scrolling(MoeTranscript *self)
{
    GtkAdjustment *a = gtk_adjustment_new(0, 0, 0, 0, 0, 0);
    g_signal_connect_object(a, "value-changed", G_CALLBACK(on_scrolled), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(a, "changed", G_CALLBACK(on_grown), self, G_CONNECT_SWAPPED);
    gtk_scrolled_window_set_vadjustment(self->scroller, a); /* which the view connects to now */
}

static gboolean moe_transcript_grab_focus(GtkWidget *widget)
{
    return gtk_widget_grab_focus(GTK_WIDGET(MOE_TRANSCRIPT(widget)->view));
}

static void moe_transcript_dispose(GObject *object)
{
    MoeTranscript *self = MOE_TRANSCRIPT(object);
    gtk_widget_dispose_template(GTK_WIDGET(object), MOE_TYPE_TRANSCRIPT);
    g_clear_handle_id(&self->wrapping, g_source_remove);
    g_clear_handle_id(&self->catching_up, g_source_remove);
    moe_cuts_clear(&self->cuts);
    G_OBJECT_CLASS(moe_transcript_parent_class)->dispose(object);
}

static void moe_transcript_finalize(GObject *object)
{
    MoeTranscript *self = MOE_TRANSCRIPT(object);
    g_array_unref(self->blocks);
    g_array_unref(self->spans);
    G_OBJECT_CLASS(moe_transcript_parent_class)->finalize(object);
}

static void moe_transcript_class_init(MoeTranscriptClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    GObjectClass *object = G_OBJECT_CLASS(class);
    object->dispose = moe_transcript_dispose;
    object->finalize = moe_transcript_finalize;
    widget->grab_focus = moe_transcript_grab_focus;
    signals[TOKEN_SELECTED] = g_signal_new("token-selected", MOE_TYPE_TRANSCRIPT, G_SIGNAL_RUN_LAST,
                                           0, NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_INT);
    gtk_widget_class_set_layout_manager_type(widget, GTK_TYPE_BIN_LAYOUT);
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "transcript.ui");
    gtk_widget_class_bind_template_child(widget, MoeTranscript, scroller);
    gtk_widget_class_bind_template_child(widget, MoeTranscript, view);
}

static void moe_transcript_init(MoeTranscript *self)
{
    GtkTextIter end;
    gtk_widget_init_template(GTK_WIDGET(self));
    self->blocks = g_array_new(FALSE, TRUE, sizeof(struct block));
    self->spans = g_array_new(FALSE, TRUE, sizeof(struct span));
    self->selected = -1;
    self->following = TRUE;
    self->buffer = gtk_text_view_get_buffer(self->view);
    moe_cuts_init(&self->cuts, self->view);
    make_tags(self);
    gtk_text_buffer_get_end_iter(self->buffer, &end);
    gtk_text_buffer_create_mark(self->buffer, "end", &end, FALSE);
    g_signal_connect_object(self->buffer, "notify::cursor-position", G_CALLBACK(on_cursor), self,
                            G_CONNECT_SWAPPED);
    watch_scrolling(self);
    g_signal_connect_object(gtk_scrolled_window_get_hadjustment(self->scroller),
                            "notify::page-size", G_CALLBACK(on_width), self, G_CONNECT_SWAPPED);
}
