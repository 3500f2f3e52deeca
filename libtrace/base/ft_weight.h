/* SPDX-License-Identifier: MIT */
/*
 * What a block of a sampled recording stands for
 *
 * A block of `size` bytes is in a recording that was sampled at `rate` with the probability
 * p = 1 - exp(-size / rate), independently of all others. Counted 1 / p times, the blocks that are
 * there add up to what the program did without bias (Horvitz, Thompson: A Generalization of
 * Sampling Without Replacement From a Finite Universe, 1952), and the sum of (1 - p) y^2 / p^2 over
 * them is an unbiased estimate of the variance of a sum of y.
 *
 * Whole numbers, made from size and rate alone: a block leaves a sum as it came into it.
 */
#ifndef FT_WEIGHT_H
#define FT_WEIGHT_H

#include <stdint.h>

enum {
	FT_WEIGHT_BLOCK_BITS = 16, /* blocks are in units of 2^-16 */
	FT_WEIGHT_VARIANCE_BITS = 24,
};

struct ft_weight {
	double factor;	   /* 1 / p; 1 where nothing is sampled */
	uint64_t bytes;	   /* size / p, rounded */
	uint64_t blocks;   /* 1 / p, << FT_WEIGHT_BLOCK_BITS, rounded */
	uint64_t variance; /* of `bytes`, in units of rate^2 >> FT_WEIGHT_VARIANCE_BITS; at most
			    * 1 << FT_WEIGHT_VARIANCE_BITS, as (size / p)^2 (1 - p) <= rate^2 */
};

/* rate 0: nothing is sampled. A size of 0 has the probability of 1. */
struct ft_weight ft_weight_of(uint64_t size, uint64_t rate);

/* Another size of the block, its usable bytes say, times the factor. */
uint64_t ft_weight_scale(const struct ft_weight *weight, uint64_t bytes);

/* `blocks` as a whole number: up or down by chance of `seq`, the sequence number of the block's
 * birth, up as often as the fraction says. The same each time, and right on the mean. */
uint64_t ft_weight_round(const struct ft_weight *weight, uint64_t seq);

/* The standard error that a sum of variances means, in bytes. */
double ft_weight_error(uint64_t variance, uint64_t rate);

#endif
