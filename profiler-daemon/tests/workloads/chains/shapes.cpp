// Twenty virtual calls, then std::function, then a callback of std::sort, then the leaves. Now and then
// an exception passes eight frames with something to destroy on its way to whom catches it.
#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>

#include "chain.h"

extern "C" {
CHAIN static void leaf() {
	burn(30);
	doze(1200);
	KEEP;
}

CHAIN static void thrower() { throw std::runtime_error("on purpose"); }

CHAIN static bool compare(int a, int b) {
	leaf();
	KEEP;
	return a < b;
}

CHAIN static void destroyed(int *number) { ++*number; }
}

struct Counted {
	int *number;
	~Counted() { destroyed(number); }
};

extern "C" {
CHAIN static void passing(unsigned depth, int *number) {
	Counted counted{number};
	if (depth > 1)
		passing(depth - 1, number);
	else
		thrower();
	KEEP;
}

CHAIN static void catcher() {
	int number = 0;
	for (int i = 0; i < 20; i++) {
		try {
			passing(8, &number);
		} catch (const std::exception &) {
			KEEP;
		}
	}
}

CHAIN static void sorted() {
	int two[] = {2, 1};
	std::sort(two, two + 2, compare);
	KEEP;
}

CHAIN static void called(const std::function<void()> &function) {
	function();
	KEEP;
}
}

struct Shape {
	virtual ~Shape() = default;
	virtual void visit(unsigned depth) const = 0;
	std::unique_ptr<Shape> inner;
};

struct Round : Shape {
	CHAIN void visit(unsigned depth) const override {
		inner->visit(depth - 1);
		KEEP;
	}
};

struct Flat : Shape {
	CHAIN void visit(unsigned depth) const override {
		char room[200];
		NEEDS(room);
		if (depth > 1) {
			inner->visit(depth - 1);
		} else {
			catcher();
			called([] {
				sorted();
				KEEP;
			});
		}
		KEEP;
	}
};

int main() {
	std::unique_ptr<Shape> shape;
	for (int i = 0; i < 10; i++) {
		auto flat = std::make_unique<Flat>();
		flat->inner = std::move(shape);
		shape = std::make_unique<Round>();
		shape->inner = std::move(flat);
	}
	for (;;)
		shape->visit(20);
}
