// Ten threads, each blocked at the end of another chain, woken ten times a second by the main thread.
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <unistd.h>

#include "chain.h"

#define THREADS 10

struct sleeper {
	unsigned number;
	int pipe[2];
};

CHAIN static void sleep_here(struct sleeper *sleeper) {
	char byte;
	if (read(sleeper->pipe[0], &byte, 1) != 1)
		exit(1);
	KEEP;
}

static __thread struct sleeper *current;

CHAIN static int compare(const void *a, const void *b) {
	(void)a, (void)b;
	sleep_here(current);
	KEEP;
	return 0;
}

CHAIN static void by_sort(void) {
	int two[] = {1, 2};
	qsort(two, 2, sizeof *two, compare);
	KEEP;
}

CHAIN static void by_find(void) {
	int one = 1;
	size_t number = 1;
	lfind(&one, &one, &number, sizeof one, compare);
	KEEP;
}

CHAIN static void by_room(unsigned bytes) {
	_Alignas(64) char aligned[64];
	char variable[bytes];
	NEEDS(aligned);
	NEEDS(variable);
	sleep_here(current);
	KEEP;
}

CHAIN static void descend(unsigned depth) {
	if (depth > 1)
		descend(depth - 1);
	else if (current->number % 3 == 0)
		by_sort();
	else if (current->number % 3 == 1)
		by_find();
	else
		by_room(100 * current->number);
	KEEP;
}

CHAIN static void *run(void *sleeper) {
	current = sleeper;
	for (;;)
		descend(1 + current->number * 11);
	return NULL;
}

int main(void) {
	static struct sleeper sleepers[THREADS];
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_t thread;
		sleepers[i].number = i;
		if (pipe(sleepers[i].pipe) || pthread_create(&thread, NULL, run, &sleepers[i]))
			return 1;
	}
	for (;;) {
		doze(100000);
		for (unsigned i = 0; i < THREADS; i++)
			if (write(sleepers[i].pipe[1], "", 1) != 1)
				return 1;
	}
}
