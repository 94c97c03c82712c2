"""Exactly-once Postgres: an embedded server, the tables of the nouns, one writer per run, and questions to them."""
