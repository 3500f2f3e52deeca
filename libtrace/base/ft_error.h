/* SPDX-License-Identifier: MIT */
/* The error object is part of the public contract, because the store's functions return it. */
#ifndef FT_ERROR_H
#define FT_ERROR_H

#include "fragtrace/error.h"

#endif
