"""Postgres: one class for each file of named queries in `sql/buildsys`. Rows come in, the language of CI goes out."""
