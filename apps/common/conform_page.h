/* The fixed parts of the conformance page. */
#ifndef VKMOE_CONFORM_PAGE_H
#define VKMOE_CONFORM_PAGE_H

extern const char conform_page_head[]; /* up to the title within <header> */
extern const char conform_page_foot[];

#endif
