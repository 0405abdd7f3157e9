// Something for a C++ compiler to do: headers, templates, and code worth optimizing.
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <regex>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>

template <int N>
struct Level {
	using Inner = Level<N - 1>;
	std::map<std::string, std::tuple<int, double, std::vector<std::string>>> entries;
	std::variant<int, double, std::string> value = N;
	Inner inner;

	double sum(const std::function<double(double)> &change) const {
		double sum = inner.sum(change);
		for (const auto &[key, entry] : entries)
			sum += change(std::get<1>(entry)) * key.size() + std::get<2>(entry).size() + N;
		return sum;
	}
	void fill(std::mt19937 &random) {
		for (int i = 0; i < N; i++)
			entries[std::to_string(random())] = {i, i * 0.5, std::vector<std::string>(N, "x")};
		std::visit([](auto &value) { value = value + value; }, value);
		inner.fill(random);
	}
};

template <>
struct Level<0> {
	double sum(const std::function<double(double)> &) const { return 0; }
	void fill(std::mt19937 &) {}
};

int main(int count, char **arguments) {
	std::mt19937 random(count);
	auto level = std::make_unique<Level<24>>();
	level->fill(random);
	std::regex pattern("([a-z]+)([0-9]+)");
	std::unordered_map<std::string, std::shared_ptr<std::string>> found;
	for (int i = 0; i < count; i++) {
		std::string text = arguments[i];
		for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it)
			found[it->str(1)] = std::make_shared<std::string>(it->str(2));
	}
	std::vector<std::string> keys;
	for (const auto &[key, value] : found)
		keys.push_back(key + *value);
	std::sort(keys.begin(), keys.end(), [](const auto &a, const auto &b) { return a.size() < b.size(); });
	std::cout << level->sum([](double x) { return x * 2; }) << keys.size() << '\n';
}
