"""Register-level models of front-end chips, each written from its maker's data sheet."""
