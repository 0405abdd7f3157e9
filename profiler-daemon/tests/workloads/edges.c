// Threads for the edges of a window. Runs until its standard input is closed, 60 s at most.
//
//   ed-asleep   sleeps in one call from start to end
//   ed-locked   waits for a mutex that nobody gives back, from start to end
//   ed-napping  sleeps 300 ms again and again: one interval is open at each end of a window
//   ed-flash    is born every 20 ms, sleeps 2 ms and ends
//   edges       the first thread: reads a pipe, from start to end
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

// What follows a call keeps the compiler from leaving the function before it is made. A function that
// calls libc is not on a stack of frame pointers, since libc keeps none: hence one more around it.
NOINLINE void nap_ms(long ms) {
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&t, NULL);
	__asm__ volatile("" ::: "memory");
}

NOINLINE void lock(void) {
	pthread_mutex_lock(&mutex);
	__asm__ volatile("" ::: "memory");
}

NOINLINE void read_to_end(void) {
	char byte;
	while (read(0, &byte, 1) > 0)
		;
}

NOINLINE void sleeps_throughout(void) {
	nap_ms(60000);
	__asm__ volatile("" ::: "memory");
}

NOINLINE void waits_throughout(void) {
	lock();
	__asm__ volatile("" ::: "memory");
}

NOINLINE void naps(void) {
	nap_ms(300);
	__asm__ volatile("" ::: "memory");
}

static void *asleep(void *unused) {
	prctl(PR_SET_NAME, "ed-asleep");
	sleeps_throughout();
	return unused;
}

static void *locked(void *unused) {
	prctl(PR_SET_NAME, "ed-locked");
	waits_throughout();
	return unused;
}

static void *napping(void *unused) {
	prctl(PR_SET_NAME, "ed-napping");
	for (;;)
		naps();
	return unused;
}

static void *flash(void *unused) {
	prctl(PR_SET_NAME, "ed-flash");
	nap_ms(2);
	return unused;
}

static void *flasher(void *unused) {
	prctl(PR_SET_NAME, "ed-flasher");
	for (;;) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, flash, NULL) == 0)
			pthread_detach(thread);
		nap_ms(20);
	}
	return unused;
}

int main(void) {
	alarm(60);
	pthread_mutex_lock(&mutex);
	void *(*bodies[])(void *) = {asleep, locked, napping, flasher};
	for (int i = 0; i < 4; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, bodies[i], NULL);
	}
	puts("ready");
	fflush(stdout);
	read_to_end();
	return 0;
}
