--- Seeded choices: the same seed and name give the same sequence, on every machine and in every run.
--
-- Each concern of the sandbox has a generator of its own, so that using one more of one kind shifts nothing elsewhere.
-- The algorithm is SplitMix64, on Lua's wrapping 64-bit integers. Nothing here is fit for secrets.
--
-- @module wgtwo.sandbox.random

local Random = {}
Random.__index = Random

local random = {}

local GOLDEN <const> = 0x9E3779B97F4A7C15

local function mix(z)
  z = (z ~ (z >> 30)) * 0xBF58476D1CE4E5B9
  z = (z ~ (z >> 27)) * 0x94D049BB133111EB
  return z ~ (z >> 31)
end

--- The start of a sequence.
local function state_of(seed, name)
  local state = mix(seed + GOLDEN)
  for i = 1, #name do state = mix(state ~ name:byte(i)) + GOLDEN end
  return state
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
  for i = 1, (digits + 15) // 16 do parts[i] = ("%016x"):format(self:bits()) end
  return table.concat(parts):sub(1, digits)
end

--- Decimal digits.
function Random:digits(count)
  local parts = {}
  for i = 1, count do parts[i] = self:integer(0, 9) end
  return table.concat(parts)
end

--- A UUID in the form of version 4.
function Random:uuid()
  local h = self:hex(32)
  return ("%s-%s-4%s-%x%s-%s"):format(h:sub(1, 8), h:sub(9, 12), h:sub(14, 16), 8 + (self:bits() & 3), h:sub(18, 20),
    h:sub(21, 32))
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
