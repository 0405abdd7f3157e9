// Two threads on CPU 0 hand a token to and fro, and wait for it at the end of one of two paths: three times in four
// below `often`, else below `seldom`. Usage: never SECONDS [still]
//
// The calls on the way, their number and the size of their frames are drawn anew for each wait, so that no two stacks
// are alike; with `still` they are always the same. Prints `TRUTH path=… waits=… ns=…` for each path.
#define _GNU_SOURCE
#include <alloca.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int turn, over, still;
static double seconds;
static long waits[2][2], spent_ns[2][2];

static long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

__attribute__((noinline)) static void take(int me) {
	while (__atomic_load_n(&turn, __ATOMIC_SEQ_CST) != me && !__atomic_load_n(&over, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, !me, NULL, NULL, 0);
}

static void give(int me) {
	__atomic_store_n(&turn, !me, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

// Uses its frame after the call, which therefore stays a call.
#define CALLS(name, next) \
	__attribute__((noinline)) static void name(int me, int depth, unsigned bits) { \
		char *frame = alloca(16 + (bits >> 8) % 8 * 16); \
		next; \
		__asm__ volatile("" ::"r"(frame) : "memory"); \
	}

static void right(int me, int depth, unsigned bits);
static void go(int me, int depth, unsigned bits);
CALLS(left, go(me, depth - 1, bits >> 1))
CALLS(right, go(me, depth - 1, bits >> 1))
CALLS(often, go(me, depth, bits))
CALLS(seldom, go(me, depth, bits))

static inline __attribute__((always_inline)) void go(int me, int depth, unsigned bits) {
	if (!depth)
		take(me);
	else if (bits & 1)
		left(me, depth, bits);
	else
		right(me, depth, bits);
}

static void *run(void *argument) {
	int me = (int)(long)argument;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof set, &set);
	unsigned long random = 88172645463325252ul + me;
	long end = now() + (long)(seconds * 1e9);
	while (!__atomic_load_n(&over, __ATOMIC_SEQ_CST)) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		int path = (random >> 40) % 4 == 0;
		int depth = still ? 12 : 6 + (random >> 20) % 13;
		// Six calls are drawn, the others are `right`.
		unsigned bits = still ? 21 : (random >> 50) % 64 | (random >> 30) % 1024 << 16;
		long before = now();
		(path ? seldom : often)(me, depth, bits);
		long after = now();
		waits[me][path]++;
		spent_ns[me][path] += after - before;
		if (after > end)
			__atomic_store_n(&over, 1, __ATOMIC_SEQ_CST);
		give(me);
	}
	return NULL;
}

int main(int count, char **arguments) {
	seconds = count > 1 ? atof(arguments[1]) : 1;
	still = count > 2 && strcmp(arguments[2], "still") == 0;
	pthread_t threads[2];
	for (long i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, run, (void *)i);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	const char *names[2] = {"often", "seldom"};
	for (int path = 0; path < 2; path++)
		printf("TRUTH path=%s waits=%ld ns=%ld\n", names[path], waits[0][path] + waits[1][path],
		       spent_ns[0][path] + spent_ns[1][path]);
	return 0;
}
