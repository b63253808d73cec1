/* A program on a terminal of its own, and a person at it. */
#ifndef VKM_TEST_TERMINAL_H
#define VKM_TEST_TERMINAL_H

#include <stddef.h>
#include <sys/types.h>

#define CTRL_C "\x03"
#define CTRL_D "\x04"

struct terminal {
    int fd;
    pid_t pid; /* 0: it has ended */
    char text[1 << 18];
    size_t size, seen; /* of all that was printed, and what terminal_expect has gone past */
};

/* Starts the program at argv[0] in the folder of the running test, where its history is kept too.
 */
void terminal_start(struct terminal *t, const char *const argv[]);
/* Kills and forgets a program that has not ended. */
void terminal_drop(struct terminal *t);

/* Waits for text that comes after what was waited for before; fails the test if it does not come.
 */
void terminal_expect(struct terminal *t, const char *part);
/* Waits until so many more bytes were printed. */
void terminal_expect_bytes(struct terminal *t, size_t n);
void terminal_type(const struct terminal *t, const char *keys);

/* Waits for its end: the exit code, or 1000 + the signal that ended it. The terminal is closed. */
int terminal_exit_code(struct terminal *t);

double terminal_seconds(void); /* monotonic */

#endif
