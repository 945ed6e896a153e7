local core = require("wgtwo.core")
local live = require("spec.support.live")
local pair = require("spec.support.pair")

local message = pair.message
local MEGABYTE = 1024 * 1024

-- Sends `number` as a message of `size` bytes at least.
local function numbered(number, size)
  local digits = tostring(number)
  return message(digits .. (" "):rep(size - #digits))
end

local function number_of(received)
  return tonumber(pair.text(received))
end

describe("backpressure", function()
  local server, target, channel

  before_each(function()
    server, channel, target = pair.connected()
  end)

  after_each(function()
    channel:close()
    server:close()
  end)

  it("a reader that stops holds a bounded part of a fast stream, and then gets every message in order", function()
    for _, size in ipairs({ 100, 5000, 300000 }) do
      local call <close> = pair.call(channel, "server")
      local accepted <close> = pair.take(server)
      local before = live.resident()
      local sent = 0
      -- the server writes whenever it may; nobody reads until nothing moves any more
      local still = 0
      while still < 5 do
        still = still + 1
        while accepted:write(numbered(sent + 1, size)) do
          sent, still = sent + 1, 0
        end
        core.poll(0.02, {})
      end
      local bytes = sent * size
      -- what is held: the inbox, the windows, the transport's buffers and the server's queue
      assert.is_true(bytes < 16 * MEGABYTE, ("%d bytes were taken in with nobody reading"):format(bytes))
      local grown = live.resident() - before
      assert.is_true(grown < 64 * MEGABYTE, ("%d bytes more resident"):format(grown))

      local received, total = 0, sent + 200
      while received < total do
        while sent < total and accepted:write(numbered(sent + 1, size)) do sent = sent + 1 end
        if sent == total then accepted:finish() end
        local next_message = pair.take(call)
        received = received + 1
        assert.equal(received, number_of(next_message))
      end
      local status, rest = pair.finish(call)
      assert.equal(0, status.code)
      assert.same({}, rest)
    end
  end)

  it("a stream that ends while its reader is behind is read to its end", function()
    for round = 1, 30 do
      local call <close> = pair.call(channel, "server")
      local accepted <close> = pair.take(server)
      local count = 40 + round
      for i = 1, count do pair.write(accepted, numbered(i, 20000)) end
      accepted:finish(round % 2 == 0 and 0 or 9, "over")
      if round % 3 == 0 then pair.until_(function() return call:headers() end) end
      for i = 1, count do assert.equal(i, number_of(pair.take(call))) end
      local status, rest = pair.finish(call)
      assert.same({}, rest)
      assert.equal(round % 2 == 0 and 0 or 9, status.code)
    end
  end)

  it("a stream whose reader is behind does not hold up another on the same connection", function()
    local stuck = pair.call(channel, "server")
    local stuck_server <close> = pair.take(server)
    pair.fill(stuck_server, numbered(1, 10000))
    local other <close> = pair.call(channel, "server")
    local other_server <close> = pair.take(server)
    for i = 1, 2000 do
      pair.write(other_server, numbered(i, 100))
      if i % 10 == 0 then
        for j = i - 9, i do assert.equal(j, number_of(pair.take(other))) end
      end
    end
    local unary <close> = pair.call(channel, "unary")
    local unary_server <close> = pair.take(server)
    unary_server:write(message("x"))
    unary_server:finish()
    assert.equal("x", pair.text(pair.take(unary)))
    stuck:close()
  end)

  it("a writer is held back by a server that does not read, and everything arrives in order", function()
    local call <close> = pair.call(channel, "client")
    local accepted <close> = pair.take(server)
    local sent, still = 0, 0
    while still < 5 do
      still = still + 1
      while call:write(numbered(sent + 1, 50000)) do
        sent, still = sent + 1, 0
      end
      core.poll(0.02, {})
    end
    assert.is_true(sent * 50000 < 8 * MEGABYTE)
    local received, total = 0, sent + 50
    while received < total do
      if sent < total and call:write(numbered(sent + 1, 50000)) then sent = sent + 1 end
      local next_message = accepted:take()
      if next_message then
        received = received + 1
        assert.equal(received, number_of(next_message))
      else
        core.poll(0.02, {})
      end
    end
    pair.half_close(call)
    assert.is_nil(pair.take(accepted))
  end)

  it("a slow wire delivers everything in order", function()
    local forwarder <close> = assert(core.forwarder({ target = target }))
    local through <close> = pair.channel("127.0.0.1:" .. forwarder:port())
    local call <close> = pair.call(through, "server")
    local accepted <close> = pair.take(server)
    forwarder:set({ bandwidth = 4 * MEGABYTE, delay = 0.002 })
    local sent, received = 0, 0
    while received < 300 do
      while sent < 300 and accepted:write(numbered(sent + 1, 3000)) do sent = sent + 1 end
      if sent == 300 then accepted:finish() end
      received = received + 1
      assert.equal(received, number_of(pair.take(call)))
    end
    assert.equal(0, pair.finish(call).code)
  end)
end)
