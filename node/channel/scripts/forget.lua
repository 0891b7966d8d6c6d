-- Removes the reports of runs that are over.
--
-- KEYS[1]  the lease: a hash of transitions, id, who; it expires
-- KEYS[2]  the reports: a hash of run and report
-- ARGV     transitions, id, who, life in milliseconds; then the runs
-- Returns  nil
--
-- One step, and for the publisher alone: the runs that another one does not know may be those of the one who leads.
if not claim(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then
    for place = 5, #ARGV do
        redis.call('HDEL', KEYS[2], ARGV[place])
    end
end
return false
