// Threads whose names try to act on whoever shows them. Runs for half a second.
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/prctl.h>
#include <time.h>

static void *body(void *name) {
	prctl(PR_SET_NAME, name);
	struct timespec t = {0, 500000000};
	nanosleep(&t, NULL);
	return NULL;
}

int main(void) {
	char *names[] = {"new\nline 7", "semi;colon", "\x1b[31mred\x1b[0m", "bad\xff\xfeutf", "<b>&\"'", " ", "# 12"};
	enum { COUNT = sizeof names / sizeof *names };
	pthread_t threads[COUNT];
	for (int i = 0; i < COUNT; i++)
		pthread_create(&threads[i], NULL, body, names[i]);
	for (int i = 0; i < COUNT; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
