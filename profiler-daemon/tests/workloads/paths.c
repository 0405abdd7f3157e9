// Waits in ever new places: each wait has a call path of its own, 2^15 of them, again and again.
//
//     paths [THREADS]
//
// prints a line when it has started and runs until it is stopped. At each level of a recursion the next
// bit of a number picks one of two functions, so the path is the number. The sleep is as short as it can be
// and still put the thread to sleep.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { LEVELS = 15 };

static void zero(uint32_t path, int level);
static void one(uint32_t path, int level);

static inline __attribute__((always_inline)) void deeper(uint32_t path, int level)
{
	if (level == LEVELS) {
		const struct timespec short_time = { 0, 20000 };
		nanosleep(&short_time, NULL);
	} else if (path >> level & 1) {
		one(path, level + 1);
	} else {
		zero(path, level + 1);
	}
	// Keeps the call above from becoming a jump, which would leave no frame.
	__asm__ volatile("" ::: "memory");
}

static __attribute__((noinline)) void zero(uint32_t path, int level) { deeper(path, level); }
static __attribute__((noinline)) void one(uint32_t path, int level)
{
	deeper(path, level);
	__asm__ volatile("nop");
}

static void *waits(void *unused)
{
	(void)unused;
	prctl(PR_SET_TIMERSLACK, 1);
	for (uint32_t path = 0;; path++)
		zero(path, 0);
	return NULL;
}

int main(int argc, char **argv)
{
	int threads = argc > 1 ? atoi(argv[1]) : 1;
	for (int i = 0; i < threads; i++) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, waits, NULL))
			return 1;
	}
	puts("started");
	fflush(stdout);
	pause();
}
