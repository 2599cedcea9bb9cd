//! `COPY`, `ADD` and `WORKDIR`: from a tree to changes of another.
