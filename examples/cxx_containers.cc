/* SPDX-License-Identifier: MIT */
/*
 * C++ containers: one that is bounded, one that only grows, and a lost object
 *
 * Scene::step() builds vectors, strings and maps that clean up after themselves; History::record()
 * pushes a string of 100 characters a round into a list that nobody empties; Scene::hover() makes a
 * Tooltip every fourth round and forgets it. Their blocks come from operator new, counted once and
 * not again for the malloc inside; names are demangled and show the containers' own frames.
 *
 * Expected findings, for 1 000 rounds (a list node is 48 bytes, its string's block 101):
 *
 * args: 3 1000
 * expect: leaks site=History::record bytes=149000 blocks=2000 verdict=growing
 * expect: leaks site=Scene::hover bytes=18000 blocks=250 verdict=growing
 * expect: leaks site=Scene::step absent
 * expect: leaks site=Frame::Frame absent
 */
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pace.h"

namespace
{

struct Tooltip {
	char text[64];
	Tooltip *next;
};

Tooltip *volatile last_tooltip;

class Frame
{
      public:
	explicit Frame(long round)
	{
		for (int i = 0; i < 8; i++)
			lines.push_back("line " + std::to_string(round) + std::string(40, '.'));
		index["first"] = &lines.front();
		index["last"] = &lines.back();
	}

      private:
	std::vector<std::string> lines;
	std::map<std::string, std::string *> index;
};

class History
{
      public:
	void record(long round)
	{
		entries.emplace_back(100, static_cast<char>('a' + round % 26));
	}

      private:
	std::list<std::string> entries;
};

class Scene
{
      public:
	void step(long round)
	{
		auto frame = std::make_unique<Frame>(round);
		std::vector<int> shuffled(64, static_cast<int>(round));
	}

	void hover()
	{
		last_tooltip = new Tooltip();
	}
};

} // namespace

int main(int argc, char **argv)
{
	struct pace pace = pace_start(argc, argv, 1000);
	auto *history = new History; // lives as long as the program
	Scene scene;

	for (long round = 0; round < pace.rounds; round++) {
		scene.step(round);
		history->record(round);
		if (round % 4 == 0)
			scene.hover();
		pace_round(&pace, round + 1);
	}
	return 0;
}
