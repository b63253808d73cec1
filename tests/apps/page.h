/* What must be true of the page that `vkmoe conform --html` writes, and of other text. */
#ifndef TEST_PAGE_H
#define TEST_PAGE_H

#include <stddef.h>

/* Elements are closed in order, attributes quoted, and there is no `&` or `<` of another kind. */
void page_assert_well_formed(const char *html);
/* Every link of the grid leads into a <details>, which browsers open for what it holds alone. */
void page_assert_links_open_details(const char *page);
size_t text_lines(const char *text);

#endif
