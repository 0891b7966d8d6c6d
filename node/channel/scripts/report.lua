-- Replaces a node's report, and tells the operator.
--
-- KEYS[1]  the reports: a hash of run and report
-- ARGV     the run, its report, the channel that the operator listens to
-- Returns  nil
--
-- One step, so that whoever is told finds the report.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[1])
return false
