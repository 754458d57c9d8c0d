"""The commands of `rlpt`, one module a subject: parse, call, print."""
