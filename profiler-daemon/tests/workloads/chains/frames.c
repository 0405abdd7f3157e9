// Frames that are not of a fixed small size, and leaves that are not ordinary functions: frames of more
// than 64 KiB, of a size known at run time, realigned ones; the vDSO, and stubs of the procedure linkage
// table.
#include <alloca.h>

#include "chain.h"

int tiny_a(int), tiny_b(int), tiny_c(int);

CHAIN static void stub_leaf(void) {
	int sum = 0;
	for (int i = 0; i < 150000; i++)
		sum += tiny_a(i) + tiny_b(i) + tiny_c(i);
	__asm__ volatile("" ::"r"(sum));
}

CHAIN static void vdso_leaf(void) {
	struct timespec t;
	for (int i = 0; i < 12000; i++)
		clock_gettime(CLOCK_MONOTONIC, &t);
	KEEP;
}

CHAIN static void leaves(void) {
	burn(10);
	stub_leaf();
	vdso_leaf();
	doze(1500);
	KEEP;
}

// The variable part and the alignment together: the caller's stack is known by a saved register only.
CHAIN static void realigned_of_any_size(unsigned bytes) {
	_Alignas(64) char aligned[128];
	char *variable = alloca(bytes);
	NEEDS(aligned);
	NEEDS(variable);
	leaves();
	KEEP;
}

CHAIN __attribute__((force_align_arg_pointer)) static void realigned_at_entry(unsigned bytes) {
	realigned_of_any_size(bytes);
	KEEP;
}

CHAIN static void realigned(unsigned bytes) {
	_Alignas(32) char aligned[96];
	NEEDS(aligned);
	realigned_at_entry(bytes);
	KEEP;
}

CHAIN static void of_any_size(unsigned bytes) {
	char *variable = alloca(bytes);
	NEEDS(variable);
	realigned(bytes);
	KEEP;
}

CHAIN static void of_half_a_megabyte(unsigned bytes) {
	char room[540128];
	NEEDS(room);
	of_any_size(bytes);
	KEEP;
}

CHAIN static void of_nine_words(unsigned bytes, long a, long b, long c, long d, long e, long f) {
	of_half_a_megabyte(bytes);
	KEEP;
	__asm__ volatile("" ::"r"(a), "r"(b), "r"(c), "r"(d), "r"(e), "r"(f));
}

int main(void) {
	for (unsigned bytes = 16;; bytes = bytes % 4000 + 16)
		of_nine_words(bytes, 1, 2, 3, 4, 5, 6);
}
