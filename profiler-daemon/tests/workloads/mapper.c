// Maps code on command: one word a line on standard input, one line of answer each, "START END" in hex
// where a range is concerned. Ends with its input.
//
//   anonymous  maps executable memory            file      maps a page of its own program
//   protect    maps memory, then makes it code   dlopen    loads libm
//   unmap      unmaps the last range             move      moves the last range
//   burn       calls a function of libm for half a second, and ends
//   data       maps memory that is not code      fork      forks a child that ends; prints its pid
//   thread     starts a thread that ends; prints its tid
//   exec       starts itself again
//   leader     ends the first thread; another one goes on with the commands
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <fcntl.h>
#include <unistd.h>

#define LENGTH 8192

static void *last;

static void *map(int protection, int flags, int fd) {
	return mmap(NULL, LENGTH, protection, flags | MAP_PRIVATE, fd, 0);
}

static void tell(void) {
	printf("%lx %lx\n", (unsigned long)last, (unsigned long)last + LENGTH);
}

static void *ends(void *tid) {
	*(pid_t *)tid = gettid();
	return NULL;
}

static void burn(void) {
	double (*cosine)(double) = (double (*)(double))dlsym(dlopen("libm.so.6", RTLD_NOW), "cos");
	volatile double sum = 0;
	struct timespec start, now;
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		for (int i = 0; i < 100000; i++)
			sum += cosine(i * 1e6);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - start.tv_sec) * 1000000000L + now.tv_nsec - start.tv_nsec < 500000000L);
}

static void *commands(void *unused) {
	char word[64];
	while (scanf("%63s", word) == 1) {
		if (!strcmp(word, "anonymous")) {
			last = map(PROT_READ | PROT_EXEC, MAP_ANONYMOUS, -1);
			tell();
		} else if (!strcmp(word, "data")) {
			last = map(PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
			tell();
		} else if (!strcmp(word, "file")) {
			int fd = open("/proc/self/exe", O_RDONLY);
			last = map(PROT_READ | PROT_EXEC, 0, fd);
			close(fd);
			tell();
		} else if (!strcmp(word, "protect")) {
			last = map(PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
			mprotect(last, LENGTH, PROT_READ | PROT_EXEC);
			tell();
		} else if (!strcmp(word, "unmap")) {
			munmap(last, LENGTH);
			tell();
		} else if (!strcmp(word, "move")) {
			void *to = map(PROT_NONE, MAP_ANONYMOUS, -1);
			last = mremap(last, LENGTH, LENGTH, MREMAP_MAYMOVE | MREMAP_FIXED, to);
			tell();
		} else if (!strcmp(word, "dlopen")) {
			puts(dlopen("libm.so.6", RTLD_NOW) ? "loaded" : dlerror());
		} else if (!strcmp(word, "burn")) {
			burn();
			_exit(0);
		} else if (!strcmp(word, "fork")) {
			pid_t child = fork();
			if (!child)
				_exit(0);
			waitpid(child, NULL, 0);
			printf("%d\n", child);
		} else if (!strcmp(word, "thread")) {
			pthread_t thread;
			pid_t tid = 0;
			pthread_create(&thread, NULL, ends, &tid);
			pthread_join(thread, NULL);
			printf("%d\n", tid);
		} else if (!strcmp(word, "exec")) {
			execl("/proc/self/exe", "mapper", NULL);
		} else if (!strcmp(word, "leader")) {
			pthread_t thread;
			pthread_create(&thread, NULL, commands, NULL);
			pthread_exit(NULL);
		}
		fflush(stdout);
	}
	_exit(0);
	return unused;
}

int main(void) {
	puts("ready");
	fflush(stdout);
	commands(NULL);
}
