#include "process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/utf8.h"
#include "support.h"

#define LIMIT_SECONDS 300

/* --- in the child --- */

static void put(int fd, int as)
{
    if (fd < 0 || dup2(fd, as) < 0)
        _exit(125);
}

static void redirect_stdout(const struct test_process *p)
{
    int ends[2];
    switch (p->output) {
    case TEST_OUTPUT_KEPT:
        put(fileno(p->files[1]), STDOUT_FILENO);
        break;
    case TEST_OUTPUT_UNREAD:
        if (pipe(ends) != 0)
            _exit(125);
        put(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        break;
    case TEST_OUTPUT_CLOSED:
        close(STDOUT_FILENO);
        break;
    case TEST_OUTPUT_FULL:
        put(open("/dev/full", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
        break;
    }
}

static void run_child(const struct test_process *p, const char *const argv[])
{
    if (p->folder && chdir(p->folder) != 0)
        _exit(125);
    put(fileno(p->files[0]), STDIN_FILENO);
    put(fileno(p->files[2]), STDERR_FILENO);
    redirect_stdout(p);
    if (p->file_limit > 0) {
        struct rlimit limit = {p->file_limit, p->file_limit};
        signal(SIGXFSZ, SIG_IGN); /* the write fails instead */
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    for (size_t i = 0; i < 4 && p->variables[i][0]; i++)
        setenv(p->variables[i][0], p->variables[i][1], 1);
    signal(SIGPIPE, SIG_DFL);
    alarm(LIMIT_SECONDS);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(126);
}

/* --- in the parent --- */

static FILE *temporary(void)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    fcntl(fileno(file), F_SETFD, FD_CLOEXEC);
    return file;
}

static char *read_back(FILE *file, size_t *size)
{
    struct stat st;
    assert_int_equal(fstat(fileno(file), &st), 0);
    char *text = malloc((size_t)st.st_size + 1);
    assert_non_null(text);
    rewind(file);
    *size = fread(text, 1, (size_t)st.st_size, file);
    text[*size] = '\0';
    fclose(file);
    return text;
}

/* Debian's SwiftShader warns of structures that it does not know. */
static bool is_driver_warning(const char *line, size_t size)
{
    static const char word[] = "UNSUPPORTED";
    for (size_t i = 0; i + sizeof(word) - 1 <= size; i++) {
        if (memcmp(line + i, word, sizeof(word) - 1) == 0)
            return true;
    }
    return false;
}

static void drop_driver_warnings(char *text)
{
    char *to = text;
    for (const char *line = text; *line;) {
        const char *end = strchr(line, '\n');
        size_t size = end ? (size_t)(end - line) + 1 : strlen(line);
        if (!is_driver_warning(line, size)) {
            memmove(to, line, size);
            to += size;
        }
        line += size;
    }
    *to = '\0';
}

void test_process_start(struct test_process *p, const char *const argv[])
{
    for (int i = 0; i < 3; i++)
        p->files[i] = temporary();
    if (p->input_size > 0)
        assert_int_equal(fwrite(p->input, 1, p->input_size, p->files[0]), p->input_size);
    rewind(p->files[0]);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0)
        run_child(p, argv);
}

size_t test_process_written(const struct test_process *p)
{
    struct stat st;
    assert_int_equal(fstat(fileno(p->files[1]), &st), 0);
    return (size_t)st.st_size;
}

void test_process_wait(struct test_process *p)
{
    int status = 0;
    size_t size;
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    p->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    fclose(p->files[0]);
    p->out = read_back(p->files[1], &p->out_size);
    p->err = read_back(p->files[2], &size);
    drop_driver_warnings(p->err);
}

void test_process_run(struct test_process *p, const char *const argv[])
{
    test_process_start(p, argv);
    test_process_wait(p);
}

void test_process_free(struct test_process *p)
{
    free(p->out);
    free(p->err);
    p->out = p->err = NULL;
}

/* A line of /proc/PID/status, after its name; false where the program is gone, or nearly so. */
static bool read_status(pid_t pid, const char *name, char value[256])
{
    char path[64], line[256];
    bool found = false, gone = false;
    snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    while (fgets(line, sizeof(line), file)) {
        gone = gone || strncmp(line, "State:\tZ", 8) == 0;
        if (strncmp(line, name, strlen(name)) == 0) {
            snprintf(value, 256, "%s", line + strlen(name));
            found = true;
        }
    }
    fclose(file);
    return found && !gone;
}

void test_process_signal(pid_t pid, int signal)
{
    char pending[256];
    assert_int_equal(kill(pid, signal), 0);
    while (read_status(pid, "ShdPnd:", pending) &&
           (strtoull(pending, NULL, 16) >> (signal - 1) & 1))
        usleep(100);
}

void test_process_await_sleep(pid_t pid)
{
    char state[256];
    while (read_status(pid, "State:", state) && !strchr(state, 'S'))
        usleep(1000);
}

void test_process_assert_code(const struct test_process *p, int code)
{
    if (p->code != code)
        fail_msg("exit code %d, expected %d: %s%s", p->code, code, p->err, p->out);
}

void test_assert_part(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in: %s", part, text);
}

void test_process_assert_sentence(const struct test_process *p, int code, const char *part)
{
    test_process_assert_code(p, code);
    if (p->out_size > 0)
        fail_msg("stdout: %s", p->out);
    test_assert_part(p->err, part);
    size_t size = strlen(p->err);
    if (size == 0 || p->err[size - 1] != '\n')
        fail_msg("not a whole line: %s", p->err);
    p->err[size - 1] = '\0';
    char *printable = strdup(p->err);
    vkm_utf8_make_printable(printable);
    if (strcmp(printable, p->err) != 0)
        fail_msg("not one printable line: %s", p->err);
    free(printable);
    p->err[size - 1] = '\n';
}
