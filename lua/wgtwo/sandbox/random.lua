--- Seeded choices: the same seed and name give the same sequence, on every machine and in every run.
--
-- Each concern of the sandbox has a generator of its own, so that using one more of one kind shifts nothing elsewhere.
-- The algorithm is SplitMix64, on Lua's wrapping 64-bit integers. Nothing here is fit for secrets.
--
-- @module wgtwo.sandbox.random

local Random = {}
Random.__index = Random

local random = {}

local byte, format = string.byte, string.format

local REMEMBERED <const> = 10000
local GOLDEN <const> = 0x9E3779B97F4A7C15

local forms = {} -- of numbers of so many digits
for count = 1, 15 do forms[count] = { text = "%0" .. count .. "d", limit = math.tointeger(10 ^ count) } end

local function mix(z)
  z = (z ~ (z >> 30)) * 0xBF58476D1CE4E5B9
  z = (z ~ (z >> 27)) * 0x94D049BB133111EB
  return z ~ (z >> 31)
end

--- The start of a sequence.
local function state_of(seed, name)
  local hash = 0xCBF29CE484222325 -- FNV-1a of the name
  for i = 1, #name do hash = (hash ~ byte(name, i)) * 0x100000001B3 end
  return mix(mix(seed + GOLDEN) ~ hash)
end

--- A generator.
-- @tparam int seed
-- @tparam string name of the concern
-- @treturn table
function random.new(seed, name)
  return setmetatable({ state = state_of(seed, name) }, Random)
end

--- A number that belongs to a text: the same for the same text.
-- @tparam string text
-- @treturn table a generator
function random.of(text)
  return random.new(0, text)
end

--- Remembers what a function makes of a text, for a while.
-- @tparam function make text → value; the same for the same text
-- @treturn function
function random.remembered(make)
  local values, count = {}, 0
  return function(text)
    local value = values[text]
    if value then return value end
    if count == REMEMBERED then values, count = {}, 0 end
    value, count = make(text), count + 1
    values[text] = value
    return value
  end
end

--- 64 random bits, as an integer.
function Random:bits()
  self.state = self.state + GOLDEN
  return mix(self.state)
end

--- A number from 0 up to, not including, 1.
function Random:float()
  return (self:bits() >> 11) * (1.0 / (1 << 53))
end

--- An integer from low to high, both included.
function Random:integer(low, high)
  return low + math.floor(self:float() * (high - low + 1))
end

--- Lower-case hexadecimal digits.
function Random:hex(digits)
  local parts = {}
  for i = 1, (digits + 15) // 16 do parts[i] = format("%016x", self:bits()) end
  return table.concat(parts):sub(1, digits)
end

--- Decimal digits, 15 at most.
function Random:digits(count)
  local form = forms[count]
  return format(form.text, (self:bits() >> 1) % form.limit)
end

--- A UUID in the form of version 4.
function Random:uuid()
  local a, b = self:bits(), self:bits()
  return format("%08x-%04x-4%03x-%04x-%012x", a >> 32, a >> 16 & 0xFFFF, a & 0xFFF, 0x8000 | b >> 48 & 0x3FFF,
    b & 0xFFFFFFFFFFFF)
end

--- Bytes.
function Random:bytes(count)
  local parts = {}
  for i = 1, (count + 7) // 8 do parts[i] = ("i8"):pack(self:bits()) end
  return table.concat(parts):sub(1, count)
end

--- One element of a list.
function Random:pick(list)
  return list[self:integer(1, #list)]
end

return random
