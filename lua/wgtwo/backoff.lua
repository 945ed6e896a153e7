--- How long to wait before trying again: exponential, with full jitter.
--
-- Each wait is a random part of a span that grows from `initial` by `factor` to `max`, so that many clients that lost
-- the same server do not come back at the same moment.
--
-- @module wgtwo.backoff

local options = require "wgtwo.options"

local backoff = {}

local Backoff = {}
Backoff.__index = Backoff

local spec = {
  initial = { type = "number", above = 0, default = 0.5 },
  max = { type = "number", above = 0, default = 30 },
  factor = { type = "number", min = 1, default = 2 },
  attempts = { type = "integer", min = 1 },
  random = { type = "callable", default = math.random },
}

--- A backoff that has not waited yet.
-- @tparam[opt] table given `initial` (0.5 s), `max` (30 s), `factor` (2), `attempts` (how many in all, the first
--   included; default: no end), `random` (a function that returns a number from 0 up to 1, for tests)
-- @treturn backoff
-- @usage local b = backoff.new{ initial = 0.5, max = 30 }
--   while not try() do wgtwo.sleep(b:next()) end
--   b:reset()
function backoff.new(given)
  local self = options.check("backoff.new", given, spec)
  self.waits = 0
  self.span = math.min(self.initial, self.max)
  return setmetatable(self, Backoff)
end

--- The next wait, before the next attempt.
-- @tparam[opt=0] number least not shorter than this: then the wait is between `least` and twice that, or the span
-- @treturn ?number seconds; nil when all attempts are made
function Backoff:next(least)
  least = least or 0
  self.waits = self.waits + 1
  if self.attempts and self.waits >= self.attempts then return nil end
  local span = self.span
  self.span = math.min(self.max, span * self.factor)
  local most = math.max(span, 2 * least)
  return least + self.random() * (most - least)
end

--- After success: the next wait is one from the shortest span again.
function Backoff:reset()
  self.waits = 0
  self.span = math.min(self.initial, self.max)
end

return backoff
