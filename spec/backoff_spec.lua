local backoff = require "wgtwo.backoff"

local function always(value) return function() return value end end

describe("backoff", function()
  it("doubles its span up to the maximum", function()
    local b = backoff.new{ initial = 0.5, max = 30, random = always(1) }
    local waits = {}
    for i = 1, 8 do waits[i] = b:next() end
    assert.same({ 0.5, 1, 2, 4, 8, 16, 30, 30 }, waits)
  end)

  it("has full jitter: any part of the span, from nothing on", function()
    local b = backoff.new{ initial = 0.5, max = 30, random = always(0) }
    assert.equal(0, b:next())
    b = backoff.new{ initial = 0.5, max = 30, random = always(0.25) }
    assert.equal(0.125, b:next())
    assert.equal(0.25, b:next())
    b = backoff.new{}
    for _ = 1, 100 do
      local wait = b:next()
      assert.is_true(wait >= 0 and wait <= 30)
    end
  end)

  it("starts over after a reset", function()
    local b = backoff.new{ initial = 1, random = always(1), attempts = 3 }
    assert.same({ 1, 2, nil }, { b:next(), b:next(), b:next() })
    b:reset()
    assert.equal(1, b:next())
  end)

  it("waits at least what it is told, with jitter above it", function()
    assert.equal(10, backoff.new{ random = always(0) }:next(10))
    assert.equal(20, backoff.new{ random = always(1) }:next(10))
  end)

  it("ends when all attempts are made", function()
    local b = backoff.new{ attempts = 2, random = always(1) }
    assert.equal(0.5, b:next())
    assert.is_nil(b:next())
  end)

  it("stays finite for ever", function()
    local b = backoff.new{ random = always(1) }
    for _ = 1, 5000 do b:next() end
    assert.equal(30, b:next())
  end)
end)
