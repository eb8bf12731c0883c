"""The dashboard in browsers: one engine, one process per browser, and a guard before them (extra ``web``)."""
