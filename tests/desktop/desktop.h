/* The application in the process of a test, with folders of the test's own. */
#ifndef TEST_DESKTOP_H
#define TEST_DESKTOP_H

#include "support.h"
#include "window.h"

/* Runs the tests, or with VKMOE_TEST_ONLY in the environment those whose names match it, with the
 * user's folders in one of their own; call it from main(). */
#define DESKTOP_RUN(tests)                                                                         \
    (desktop_set_up(), desktop_clean_up(cmocka_run_group_tests((tests), NULL, NULL)))
void desktop_set_up(void);
int desktop_clean_up(int result);

/* A running application with its window. */
struct desktop {
    MoeApplication *application;
    MoeWindow *window;
    MoeWorker *worker;
    MoeTranscript *transcript;
};

/* Starts it, and does not wait until the model is there. model: NULL for the shipped one. */
void desktop_start(struct desktop *d, const char *model);
/* Closes the window as a user does, and waits until the application is gone. */
void desktop_stop(struct desktop *d);

/* Handles events until the condition holds; fails the test after five minutes. */
typedef bool desktop_condition(void *data);
void desktop_wait(desktop_condition *condition, void *data, const char *what);
/* Until the worker waits for work, or has failed. */
void desktop_wait_idle(struct desktop *d);
/* Until nothing is generated any more. */
void desktop_wait_end(struct desktop *d);
/* Until nothing more is to be drawn or told for now. */
void desktop_settle(struct desktop *d);

/* What a user does. */
void desktop_type(struct desktop *d, const char *text);
void desktop_do(struct desktop *d, const char *action);
bool desktop_can_do(struct desktop *d, const char *action);
/* The first widget of a type, in order of the tree; fails the test if there is none. */
GtkWidget *desktop_find(struct desktop *d, GType type);

/* Shows a conversation of the list. */
void desktop_choose(struct desktop *d, MoeConversation *conversation);

/* The text of the transcript; to be freed with g_free. */
char *desktop_text(struct desktop *d);
/* The sentence that is shown, or NULL. */
const char *desktop_notice(struct desktop *d);

/* Draws the window into NAME.png of the folder in VKMOE_TEST_SCREENSHOTS, if that is set; fails the
 * test if next to nothing is drawn. */
void desktop_screenshot(struct desktop *d, int width, int height, bool dark, const char *name);

#endif
