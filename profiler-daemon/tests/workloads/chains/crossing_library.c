// The library of crossing.c: calls itself, then libc, which calls back.
#include <search.h>
#include <stdlib.h>

#include "chain.h"

CHAIN void library_sort(unsigned depth, int (*compare)(const void *, const void *)) {
	int two[] = {1, 2};
	if (depth > 1)
		library_sort(depth - 1, compare);
	else
		qsort(two, 2, sizeof *two, compare);
	KEEP;
}

CHAIN void library_find(unsigned depth, int (*equal)(const void *, const void *)) {
	int one = 1;
	size_t number = 1;
	if (depth > 1)
		library_find(depth - 1, equal);
	else
		lfind(&one, &one, &number, sizeof one, equal);
	KEEP;
}
