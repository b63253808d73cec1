#include "sums_task.h"

#include <stdio.h>
#include <stdlib.h>

#include "support.h"

enum { SOLVED = 3, CHOICES = 4 };

static int print_item(char *to, size_t room, unsigned i)
{
    static const unsigned wrong[] = {47, 101, 149}; /* by how much, of 199 */
    unsigned a = 11 + i * 37 % 83, b = 10 + i * 53 % 89, n = 0;
    n += (unsigned)snprintf(to + n, room - n, "{\"id\": \"sum %u\", \"context\": \"", i);
    for (unsigned j = 0; j < SOLVED; j++) {
        unsigned c = (a * 7 + j * 29) % 90 + 5, d = (b * 3 + j * 31) % 90 + 5;
        n += (unsigned)snprintf(to + n, room - n, "%u + %u = %u\\n", c, d, c + d);
    }
    n += (unsigned)snprintf(to + n, room - n, "%u + %u =\", \"choices\": [", a, b);
    for (unsigned j = 0; j < CHOICES; j++) {
        unsigned other = (j + CHOICES - i % CHOICES) % CHOICES;
        unsigned sum = other == 0 ? a + b : (a + b + wrong[other - 1]) % 199;
        n += (unsigned)snprintf(to + n, room - n, "%s\" %u\\n\"", j > 0 ? ", " : "", sum);
    }
    n += (unsigned)snprintf(to + n, room - n, "], \"answer\": %u}\n", i % CHOICES);
    assert_true(n < room);
    return (int)n;
}

char *sums_task(size_t n_items)
{
    enum { LINE = 256 };
    char *text = malloc(n_items * LINE + 1), *at = text;
    assert_non_null(text);
    *at = '\0';
    for (size_t i = 0; i < n_items; i++)
        at += print_item(at, LINE, (unsigned)i);
    return text;
}
