// The executable calls itself ten times, then a library that calls itself ten times; the library has
// libc call the executable back (qsort, or lfind), which calls itself twenty times more: depth 40 and
// the frames of libc. Both ways have leaves of their own, so a stack taken for the other one shows.
#include "chain.h"

void library_sort(unsigned depth, int (*compare)(const void *, const void *));
void library_find(unsigned depth, int (*equal)(const void *, const void *));

CHAIN static void sort_leaf(void) {
	burn(30);
	doze(1000);
	KEEP;
}

CHAIN static void find_leaf(void) {
	burn(30);
	doze(1000);
	KEEP;
}

CHAIN static void descend(unsigned depth, void (*leaf)(void)) {
	if (depth == 1)
		leaf();
	else
		descend(depth - 1, leaf);
	KEEP;
}

CHAIN static int compare(const void *a, const void *b) {
	(void)a, (void)b;
	descend(20, sort_leaf);
	KEEP;
	return 0;
}

CHAIN static int equal(const void *a, const void *b) {
	(void)a, (void)b;
	descend(17, find_leaf);
	KEEP;
	return 0;
}

CHAIN static void outward(unsigned depth, int sort) {
	if (depth > 1)
		outward(depth - 1, sort);
	else if (sort)
		library_sort(10, compare);
	else
		library_find(10, equal);
	KEEP;
}

int main(void) {
	for (;;) {
		outward(10, 1);
		outward(7, 0);
	}
}
