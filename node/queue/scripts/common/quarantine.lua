-- Quarantine: a record that cannot be read is put aside where a person sees it; the rest goes on.

local damaged = {}
local function quarantine(e)
  if e.state == ACTIVE then end_probe(e) end
  e.held_ms = held_total(e)
  leave(e)
  e.attend = ENDLESS -- nobody could do anything about it
  enter_held(e, QUARANTINE)
  save(e)
  damaged[#damaged + 1] = e.key
end
-- A record whose head cannot be read becomes the body of a new one, which is held; the indexes that named it are the caller's to clean.
local function quarantine_raw(key, raw, state, queue_hash, lane_id)
  tally(queue_hash, state, -1)
  index(K.ages, aged_member(queue_hash, key), false)
  damaged[#damaged + 1] = key
  if not raw then return end -- an index without its record: nothing is left to hold
  local e = {
    key = key, id = sub(key, 1, 16), state = HELD, prev = 0, lane = lane_id or sub(NOBODY, 1, 8), queue = queue_hash, priority = 9,
    urgent = 0, hold = 0, generation = 0, attend = ENDLESS, at = now, sequence = 0, reason = 0, since = now, held_ms = 0,
    token = 0, owner = NOBODY, recipients = 0, received = 0, body = raw,
  }
  enter_held(e, QUARANTINE)
  save(e)
end
