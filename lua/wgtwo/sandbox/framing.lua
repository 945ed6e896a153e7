--- Putting encoded messages together: a delivery is a few bytes of its own before those that all deliveries share.
--
-- The fields of a message may come in any order, so the bytes of two parts of it, one after the other, are the message.
--
-- @module wgtwo.sandbox.framing

local framing = {}

local char = string.char

local short = {} -- integer → varint, of one and two bytes: lengths, of which there are few

for n = 0, 0x7F do short[n] = char(n) end
for n = 0x80, 0xFFF do short[n] = char(n & 0x7F | 0x80, n >> 7) end

--- An integer as a varint.
-- @tparam int n 0 or more
-- @treturn string
local function varint(n)
  local known = short[n]
  if known then return known end
  if n < 0x4000 then return char(n & 0x7F | 0x80, n >> 7) end
  if n < 0x200000 then return char(n & 0x7F | 0x80, n >> 7 & 0x7F | 0x80, n >> 14) end
  local bytes = {}
  while n > 0x7F do
    bytes[#bytes + 1] = char(n & 0x7F | 0x80)
    n = n >> 7
  end
  bytes[#bytes + 1] = char(n)
  return table.concat(bytes)
end

--- How long an integer is as a varint.
-- @tparam int n 0 or more
-- @treturn int
function framing.size(n)
  if n < 0x80 then return 1 end
  if n < 0x4000 then return 2 end
  return n < 0x200000 and 3 or #varint(n)
end

--- What stands before the value of a field that holds an integer or a boolean.
function framing.integer_tag(number) return varint(number << 3) end

--- What stands before the length of a field that holds a message, a string or bytes.
function framing.tag(number) return varint(number << 3 | 2) end

--- The bytes of a message in parts: a string stands for itself, an integer for its varint, as the core writes them.
-- @tparam string|int ...
-- @treturn string
function framing.join(...)
  local parts = { ... }
  for i, part in ipairs(parts) do
    if math.type(part) == "integer" then parts[i] = varint(part) end
  end
  return table.concat(parts)
end

--- A field that holds a message, a string or bytes.
-- @tparam int number of the field
-- @tparam string bytes its content
-- @treturn string
function framing.field(number, bytes)
  return framing.tag(number) .. varint(#bytes) .. bytes
end

--- A field that no message of the API has, to make one larger.
-- @tparam int size in bytes
-- @treturn string
function framing.padding(size)
  return framing.field(536870911, ("\0"):rep(size))
end

--- Bytes that are no message: a group that ends without having begun.
framing.INVALID = "\xFF\xFF\xFF\xFF\x0F\xFF"

return framing
