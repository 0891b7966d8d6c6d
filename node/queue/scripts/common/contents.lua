-- Contents: whether the chunks that were stored before a message are the content that it names.

-- Applies the linear map "append so many zero octets" (32 images of single bits) to a CRC-32.
local function shifted(images, crc)
  local result = 0
  for i = 0, 31 do
    if bit.band(bit.rshift(crc, i), 1) == 1 then result = bit.bxor(result, images[i + 1]) end
  end
  return result
end
local function images_of(packed, at)
  local images = {}
  for i = 1, 32 do images[i] = bit.tobit((unpick('>I4', packed, at + (i - 1) * 4))) end
  return images
end
-- Count, length and checksum of chunked content against what the message says. `spec`: CRC-32, images for a full chunk, for the last.
local function chunks_error(key, m, spec)
  local stored, ends = call('HLEN', key), tonumber(call('HGET', key, 'ends') or 0)
  if stored == 0 or ends <= now then return 'its chunks were not stored, or too long ago' end
  if stored ~= 2 * m.chunks + 1 then return 'there are other chunks than ' .. m.chunks end
  local fields = {}
  for i = 1, m.chunks do fields[i] = (i - 1) .. 'm' end
  local full, last_one = images_of(spec, 5), images_of(spec, 133)
  local crc, length, found = 0, 0, 0
  for first = 1, m.chunks, 1000 do
    local last = min(first + 999, m.chunks)
    local notes = call('HMGET', key, unpack(fields, first, last))
    for i = first, last do
      local note = notes[i - first + 1]
      if not note then return 'chunk ' .. (i - 1) .. ' was not stored' end
      local octets, sum = unpick('>I4I4', note)
      if i < m.chunks and octets ~= 65536 then return 'chunk ' .. (i - 1) .. ' has ' .. octets .. ' octets' end
      crc = bit.bxor(shifted(i < m.chunks and full or last_one, crc), bit.tobit(sum))
      length, found = length + octets, found + 1
    end
  end
  if length ~= m.size then return 'the chunks have ' .. length .. ' octets, the message ' .. m.size end
  if crc ~= bit.tobit((unpick('>I4', spec))) then return 'the checksum of the chunks is not the message\'s' end
  return nil
end
