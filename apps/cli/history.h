/* Lines that are remembered from one time to the next. */
#ifndef VKMOE_CLI_HISTORY_H
#define VKMOE_CLI_HISTORY_H

/* Reads what is remembered into the line editor. Returns the file's path, malloc'ed; NULL where
 * none is known, or, after saying why, where it cannot be read. */
char *history_open(void);

/* Adds a line to the line editor's history, and at once to the end of the file (NULL: none), so
 * that other chats, and a sudden end of this one, lose nothing. Empty lines and repeated ones are
 * not added. A file that cannot be written is said. Returns the file, or NULL, having freed it,
 * when no more should be written. */
char *history_add(char *file, const char *line);

/* Forgets it all but for the file, whose path is freed. */
void history_close(char *file);

#endif
