--- Putting encoded messages together: a delivery is a few bytes of its own before those that all deliveries share.
--
-- The fields of a message may come in any order, so the bytes of two parts of it, one after the other, are the message.
--
-- @module wgtwo.sandbox.framing

local core = require "wgtwo.core"

local framing = {}

local join <const> = core.join

--- The bytes of a message in parts: a string stands for itself, an integer for its varint.
-- @function join
-- @tparam string|int ...
-- @treturn string
framing.join = join

--- How long an integer is as a varint.
-- @tparam int n 0 or more
-- @treturn int
function framing.size(n)
  if n < 0x80 then return 1 end
  if n < 0x4000 then return 2 end
  return n < 0x200000 and 3 or #join(n)
end

--- What stands before the value of a field that holds an integer or a boolean.
function framing.integer_tag(number) return join(number << 3) end

--- What stands before the length of a field that holds a message, a string or bytes.
function framing.tag(number) return join(number << 3 | 2) end

--- A field that holds a message, a string or bytes.
-- @tparam int number of the field
-- @tparam string bytes its content
-- @treturn string
function framing.field(number, bytes)
  return join(number << 3 | 2, #bytes, bytes)
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
