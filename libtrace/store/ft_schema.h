/* SPDX-License-Identifier: MIT */
/* The tables of format 1 (FORMAT.md says what they mean). */
#ifndef FT_SCHEMA_H
#define FT_SCHEMA_H

/* Makes all tables in an empty database. */
extern const char ft_schema_sql[];

/* Names of the tables that a recording must have; NULL at the end. */
extern const char *const ft_schema_tables[];

/* The same of a machine's recording (meta.kind = 'node'). */
extern const char ft_node_schema_sql[];
extern const char *const ft_node_schema_tables[];

#endif
