-- Takes or renews the publisher's lease.
--
-- KEYS[1]  the lease: a hash of transitions, id, who; it expires
-- ARGV     transitions, id, who, life in milliseconds
-- Returns  nil where it is the caller's; else 'held', the holder's transitions, who it is
--
-- One step: of two who find it free only one gets it.
return claim(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) or false
