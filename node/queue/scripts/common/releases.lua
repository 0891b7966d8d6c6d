-- Releases: up to which hold sequence a queue is free, and since when.

local release_lists = {}
-- The releases for a reason and a queue ('*': for all), oldest first: pairs of high-water and time.
local function releases_of(reason, scope)
  local field = char(reason) .. scope
  local list = release_lists[field]
  if not list then
    list = {}
    local raw = call('HGET', K.releases, field)
    if raw then
      for at = 1, #raw, 16 do
        local high, time = unpick('>I8I8', raw, at)
        list[#list + 1] = { high, time }
      end
    end
    release_lists[field] = list
  end
  return list
end
local function high_water(reason, queue_hash)
  local own, all = releases_of(reason, queue_hash), releases_of(reason, '*')
  return max(#own > 0 and own[#own][1] or 0, #all > 0 and all[#all][1] or 0)
end
-- When what was held with this sequence was released first; nil: it was not.
local function released_at(reason, queue_hash, sequence)
  local first
  for _, list in ipairs({ releases_of(reason, queue_hash), releases_of(reason, '*') }) do
    for _, release in ipairs(list) do
      if release[1] >= sequence then
        first = first and min(first, release[2]) or release[2]
        break
      end
    end
  end
  return first
end
