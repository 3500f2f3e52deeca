/* SPDX-License-Identifier: MIT */
/* Weights of sampled blocks: see ft_weight.h. */
#include "ft_weight.h"

#include <math.h>

#include "ft_map.h"

struct ft_weight ft_weight_of(uint64_t size, uint64_t rate)
{
	if (!rate)
		return (struct ft_weight){
			.factor = 1, .bytes = size, .blocks = UINT64_C(1) << FT_WEIGHT_BLOCK_BITS};

	double x = (double)(size ? size : 1) / (double)rate;
	double factor = -1 / expm1(-x);
	/* (size / p)^2 (1 - p) / rate^2, without the overflow and the cancellation. */
	double spread = size ? x / 2 / sinh(x / 2) : 0;

	struct ft_weight weight = {
		.factor = factor,
		.blocks = (uint64_t)llround(ldexp(factor, FT_WEIGHT_BLOCK_BITS)),
		.variance = (uint64_t)llround(ldexp(spread * spread, FT_WEIGHT_VARIANCE_BITS)),
	};

	weight.bytes = ft_weight_scale(&weight, size);
	return weight;
}

uint64_t ft_weight_scale(const struct ft_weight *weight, uint64_t bytes)
{
	double scaled = (double)bytes * weight->factor;

	return weight->factor > 1 && scaled < 0x1p63 ? (uint64_t)llround(scaled) : bytes;
}

uint64_t ft_weight_round(const struct ft_weight *weight, uint64_t seq)
{
	const uint64_t mask = (UINT64_C(1) << FT_WEIGHT_BLOCK_BITS) - 1;

	return (weight->blocks >> FT_WEIGHT_BLOCK_BITS) +
	       ((ft_hash_u64(seq) & mask) < (weight->blocks & mask));
}

double ft_weight_error(uint64_t variance, uint64_t rate)
{
	return (double)rate * sqrt(ldexp((double)variance, -FT_WEIGHT_VARIANCE_BITS));
}
