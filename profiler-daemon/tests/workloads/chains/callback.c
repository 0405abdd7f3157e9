// Through libc and back in one file, to be linked statically, as a static PIE, and at a fixed address;
// on the main thread and on a second one.
#include <pthread.h>
#include <stdlib.h>

#include "chain.h"

CHAIN static void leaf(void) {
	burn(30);
	doze(1500);
	KEEP;
}

CHAIN static void descend(unsigned depth) {
	if (depth == 1)
		leaf();
	else
		descend(depth - 1);
	KEEP;
}

CHAIN static int compare(const void *a, const void *b) {
	(void)a, (void)b;
	descend(20);
	KEEP;
	return 0;
}

CHAIN static void outward(unsigned depth) {
	int two[] = {1, 2};
	if (depth > 1)
		outward(depth - 1);
	else
		qsort(two, 2, sizeof *two, compare);
	KEEP;
}

CHAIN static void *second(void *unused) {
	for (;;)
		outward(15);
	return unused;
}

int main(void) {
	pthread_t thread;
	if (pthread_create(&thread, NULL, second, NULL))
		return 1;
	for (;;)
		outward(20);
}
