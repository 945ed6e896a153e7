--- Putting encoded messages together: a delivery is a few bytes of its own before those that all deliveries share.
--
-- The fields of a message may come in any order, so the bytes of two parts of it, one after the other, are the message.
--
-- @module wgtwo.sandbox.framing

local framing = {}

local function varint(n)
  local bytes = {}
  while n > 0x7F do
    bytes[#bytes + 1] = string.char(n & 0x7F | 0x80)
    n = n >> 7
  end
  bytes[#bytes + 1] = string.char(n)
  return table.concat(bytes)
end

local lengths = setmetatable({}, {
  __index = function(lengths, n)
    local bytes = varint(n)
    if n < 0x4000 then lengths[n] = bytes end
    return bytes
  end,
})

--- A field that holds a message, a string or bytes.
-- @tparam int number of the field
-- @tparam string bytes its content
-- @treturn string
function framing.field(number, bytes)
  if number < 16 then return string.char(number << 3 | 2) .. lengths[#bytes] .. bytes end
  return varint(number << 3 | 2) .. lengths[#bytes] .. bytes
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
