//! Starts, drives and breaks real servers with pg_perfmon in them.
