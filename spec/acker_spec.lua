local collector = require("spec.support.collector")
local core = require("wgtwo.core")
local pair = require("spec.support.pair")

local message = pair.message

describe("acker", function()
  local server, target, channel, acker, open

  local function new_acker(options)
    local all = { path = "/test.Service/Ack", reply = pair.TEXT, expected = message("OK"), timeout = 10, limit = 100 }
    for key, value in pairs(options or {}) do all[key] = value end
    acker = core.acker(channel, all)
    return acker
  end

  -- Accepts the next acknowledgement: the server's side.
  local function accept()
    local accepted = pair.take(server)
    open[#open + 1] = accepted
    return accepted
  end

  -- Accepts and answers count acknowledgements; returns their requests in the order of their coming.
  local function answer(count, reply)
    local requests = {}
    for i = 1, count do
      local accepted = accept()
      requests[i] = pair.take(accepted)
      accepted:write(reply or message("OK"))
      accepted:finish()
    end
    return requests
  end

  local function until_idle()
    pair.on_news(function() return acker:counts() == 0 end, "the last acknowledgement")
  end

  before_each(function()
    open = {}
    server, channel, target = pair.connected()
  end)

  after_each(function()
    if acker then acker:close() end
    pair.close(open, channel, server)
  end)

  it("counts expected answers on its own, and tells when none is in flight", function()
    new_acker()
    for i = 1, 20 do assert.is_true(acker:send("event " .. i, 1, core.now(), false)) end
    assert.same({ 20, 0 }, { acker:counts() })
    local requests = answer(20)
    table.sort(requests)
    assert.equal("event 1", requests[1])
    until_idle()
    assert.same({ 0, 20 }, { acker:counts() })
    assert.is_false(acker:take())
  end)

  it("hands over each answer once, also where a finalizer takes in the middle of it", function()
    new_acker()
    for _ = 1, 20 do
      for i = 1, 3 do acker:send(tostring(i), 1, 0, true) end
      answer(3)
      until_idle()
      local requests = {}
      local function take()
        local result = acker:take()
        if result then requests[#requests + 1] = result.request end
        return result
      end
      assert(collector.amid(take, function()
        while take() do end -- luacheck: ignore 542
      end))
      table.sort(requests)
      assert.same({ "1", "2", "3" }, requests)
    end
  end)

  it("hands over an expected answer where that was asked for", function()
    new_acker()
    acker:send("quiet", 1, 7.5, false)
    acker:send("told", 3, 8.5, true)
    answer(2)
    local result = pair.take(acker)
    assert.equal("told", result.request)
    assert.is_true(result.ok)
    assert.is_true(result.notify)
    assert.equal(3, result.attempt)
    assert.equal(8.5, result.started)
    assert.equal(0, result.code)
    assert.equal("OK", pair.text(result.reply))
    until_idle()
    assert.same({ 0, 2 }, { acker:counts() })
    assert.is_false(acker:take())
  end)

  it("hands over a gRPC failure with everything it says", function()
    new_acker()
    acker:send("event", 2, 1.25, false)
    accept():finish(8, "slow down", { { "retry", "later" } })
    local result = pair.take(acker)
    assert.equal("event", result.request)
    assert.is_false(result.ok)
    assert.is_false(result.notify)
    assert.equal(2, result.attempt)
    assert.equal(8, result.code)
    assert.equal("slow down", result.message)
    assert.same({ { "retry", "later" } }, result.metadata)
    assert.is_nil(result.reply)
    assert.same({ 0, 0 }, { acker:counts() })
  end)

  it("hands over an answer that is not the expected one, also one that cannot be decoded", function()
    new_acker()
    for _, reply in ipairs({ message("NO"), message("OK!"), "", "\255" }) do
      acker:send("event", 1, 0, false)
      answer(1, reply)
      local result = pair.take(acker)
      assert.is_false(result.ok)
      assert.equal(0, result.code)
      if reply == "\255" then
        assert.is_nil(result.reply)
      else
        assert.equal(reply, core.bytes(result.reply))
      end
    end
    assert.same({ 0, 0 }, { acker:counts() })
  end)

  it("takes an expected answer of no bytes", function()
    new_acker({ expected = "" })
    acker:send("", 1, 0, false)
    assert.same({ "" }, answer(1, ""))
    until_idle()
    assert.same({ 0, 1 }, { acker:counts() })
  end)

  it("counts no answer of no bytes as expected when its status is a failure", function()
    new_acker({ expected = "" })
    acker:send("event", 1, 0, false)
    local accepted = accept()
    accepted:write("")
    accepted:finish(13, "late")
    assert.equal(13, pair.take(acker).code)
  end)

  it("sends the metadata that is current at the start of each", function()
    new_acker()
    acker:metadata({ { "authorization", "Bearer one" } })
    acker:send("1", 1, 0, false)
    acker:metadata({ { "authorization", "Bearer two" }, { "more", "x" } })
    acker:send("2", 1, 0, false)
    acker:metadata(nil)
    acker:send("3", 1, 0, false)
    local seen = {}
    for _ = 1, 3 do
      local accepted = accept()
      seen[pair.take(accepted)] = accepted:metadata("authorization") or "none"
      accepted:write(message("OK"))
      accepted:finish()
    end
    assert.same({ ["1"] = "Bearer one", ["2"] = "Bearer two", ["3"] = "none" }, seen)
    local failure = "metadata 'authorization'"
    assert.error_matches(function() acker:metadata({ { "authorization", "secret\r\n" } }) end, failure)
    until_idle()
  end)

  it("refuses more than its limit, and tells when there is room", function()
    new_acker({ limit = 3 })
    for i = 1, 3 do assert.is_true(acker:send("event " .. i, 1, 0, false)) end
    assert.is_false(acker:send("event 4", 1, 0, false))
    assert.is_false(acker:send("event 4", 1, 0, false))
    answer(1)
    assert.is_true(pair.on_news(function() return acker:send("event 4", 1, 0, false) end, "room"))
    answer(3)
    until_idle()
    assert.same({ 0, 4 }, { acker:counts() })
  end)

  it("counts results that were not taken to its limit, and tells of the room that taking makes", function()
    new_acker({ limit = 2 })
    acker:send("1", 1, 0, false)
    acker:send("2", 1, 0, false)
    answer(2, message("NO"))
    pair.until_(function() return acker:counts() == 0 end)
    while core.poll(0, {}) > 0 do end -- whatever was news so far
    assert.is_false(acker:send("3", 1, 0, false))
    assert.is_false(acker:take().ok)
    local list = {}
    assert.equal(1, core.poll(1, list))
    assert.equal(acker, list[1])
    assert.is_true(acker:send("3", 1, 0, false))
    assert.is_false(acker:take().ok)
    answer(1)
    until_idle()
  end)

  it("queues what has no place in flight, and starts it as answers come, without the Lua thread", function()
    new_acker({ limit = 2, queue = 10 })
    for i = 1, 12 do assert.is_true(acker:send("event " .. i, 1, 0, false)) end
    assert.equal(10, acker:queued())
    assert.is_false(acker:send("event 13", 1, 0, false))
    local requests = answer(12)
    until_idle()
    assert.same({ 0, 12 }, { acker:counts() })
    assert.equal(0, acker:queued())
    local seen = {}
    for _, request in ipairs(requests) do seen[request] = true end
    for i = 1, 12 do assert.is_true(seen["event " .. i]) end
  end)

  it("tells when a quarter of its places is free for what is queued, not of each", function()
    new_acker({ limit = 8, queue = 8 })
    for i = 1, 12 do acker:send("event " .. i, 1, 0, false) end
    local calls, ready = {}, {}
    for i = 1, 8 do calls[i] = accept() end
    local function reply(call)
      call:write(message("OK"))
      call:finish()
    end
    -- Whether the acker had news until so many were left.
    local function told_until(left)
      local told = false
      repeat
        for i = 1, core.poll(0.01, ready) do told = told or ready[i] == acker end
      until acker:counts() == left
      return told
    end
    reply(calls[1])
    assert.is_false(told_until(11))
    assert.equal(4, acker:queued())
    reply(calls[2])
    pair.on_news(function() return acker:counts() == 10 end, "places for a burst")
    acker:start()
    assert.equal(2, acker:queued())
    for i = 3, 8 do reply(calls[i]) end
    answer(4)
    until_idle()
    assert.same({ 0, 12 }, { acker:counts() })
  end)

  it("starts nothing in a pause, and all of it with the metadata that ends it", function()
    new_acker({ limit = 4, queue = 4 })
    acker:pause()
    for i = 1, 3 do assert.is_true(acker:send(tostring(i), 1, 0, false)) end
    assert.same({ 3, 3 }, { acker:queued(), (acker:counts()) })
    acker:metadata({ { "authorization", "Bearer new" } })
    assert.equal(0, acker:queued())
    for _ = 1, 3 do
      local accepted = accept()
      assert.equal("Bearer new", accepted:metadata("authorization"))
      accepted:write(message("OK"))
      accepted:finish()
    end
    until_idle()
  end)

  it("gives back what it has not started, the oldest first, and pauses", function()
    new_acker({ limit = 1, queue = 4 })
    for i = 1, 3 do acker:send("event " .. i, i, i + 0.5, i == 3) end
    assert.same({ request = "event 2", attempt = 2, started = 2.5, notify = false }, acker:unsend())
    assert.same({ request = "event 3", attempt = 3, started = 3.5, notify = true }, acker:unsend())
    assert.is_false(acker:unsend())
    acker:send("event 4", 1, 0, false)
    answer(1)
    pair.until_(function() return acker:counts() == 1 end)
    assert.equal(1, acker:queued())
    acker:metadata()
    assert.same({ "event 4" }, answer(1))
    until_idle()
  end)

  it("gives back or sends each once, also where a finalizer ends the pause in the middle of it", function()
    local both = 0
    for _ = 1, 20 do
      new_acker({ limit = 4, queue = 4 })
      acker:pause()
      for i = 1, 3 do acker:send("event " .. i, 1, 0, false) end
      local requests = {}
      assert(collector.amid(function() acker:metadata() end, function()
        for item in acker.unsend, acker do
          if not item then break end
          requests[#requests + 1] = item.request
        end
      end))
      local sent = acker:counts()
      if sent > 0 and #requests > 0 then both = both + 1 end
      for _, request in ipairs(answer(sent)) do requests[#requests + 1] = request end
      table.sort(requests)
      assert.same({ "event 1", "event 2", "event 3" }, requests)
      until_idle()
      acker:close()
    end
    assert.is_true(both > 0)
  end)

  it("can be closed with some queued, and starts none of them", function()
    new_acker({ limit = 2, queue = 100 })
    for i = 1, 50 do acker:send(tostring(i), 1, 0, true) end
    local first, second = accept(), accept()
    acker:close()
    pair.until_(function() return first:cancelled() and second:cancelled() end)
  end)

  it("takes results in the order of their answers", function()
    new_acker()
    local accepted = {}
    for i = 1, 10 do acker:send(tostring(i), 1, 0, false) end
    for _ = 1, 10 do
      local call = accept()
      accepted[tonumber(pair.take(call))] = call
    end
    for i = 10, 1, -1 do
      accepted[i]:finish(5, "")
      assert.equal(tostring(i), pair.take(acker).request)
    end
  end)

  it("ends an acknowledgement that nobody answers at its timeout", function()
    new_acker({ timeout = 0.1 })
    acker:send("event", 1, 0, false)
    accept()
    assert.equal(4, pair.take(acker).code)
  end)

  it("waits for a connection, so that a reconnect loses none", function()
    local forwarder <close> = assert(core.forwarder({ target = target }))
    forwarder:set({ refuse = true })
    channel:close()
    channel = pair.channel("127.0.0.1:" .. forwarder:port(), {
      ["grpc.initial_reconnect_backoff_ms"] = 100, ["grpc.min_reconnect_backoff_ms"] = 100,
      ["grpc.max_reconnect_backoff_ms"] = 100,
    })
    new_acker()
    for i = 1, 5 do acker:send(tostring(i), 1, 0, false) end
    pair.until_(function() return channel:state() == "TRANSIENT_FAILURE" end)
    assert.equal(5, (acker:counts()))
    forwarder:clear()
    answer(5)
    until_idle()
    assert.same({ 0, 5 }, { acker:counts() })
  end)

  it("hands over those whose connection breaks, each once", function()
    local forwarder <close> = assert(core.forwarder({ target = target }))
    channel:close()
    channel = pair.channel("127.0.0.1:" .. forwarder:port())
    new_acker()
    for i = 1, 50 do acker:send(tostring(i), 1, 0, false) end
    for _ = 1, 50 do accept() end
    forwarder:reset()
    local seen = {}
    for _ = 1, 50 do
      local result = pair.take(acker)
      assert.equal(14, result.code)
      assert.is_nil(seen[result.request])
      seen[result.request] = true
    end
    assert.is_false(acker:take())
    assert.same({ 0, 0 }, { acker:counts() })
  end)

  it("cancels what is in flight when it is closed, at the server too", function()
    new_acker()
    for i = 1, 20 do acker:send(tostring(i), 1, 0, i % 2 == 0) end
    local accepted = {}
    for i = 1, 20 do accepted[i] = accept() end
    acker:close()
    acker:close()
    for i = 1, 20 do pair.until_(function() return accepted[i]:cancelled() end) end
    assert.error_matches(function() acker:send("x", 1, 0, false) end, "closed")
  end)

  it("can be closed with answers on their way, answers not taken, and after its channel", function()
    for round = 1, 20 do
      new_acker()
      for i = 1, 30 do acker:send(tostring(i), 1, 0, i % 2 == 0) end
      for i = 1, 30 do
        local call = accept()
        if i <= round then
          call:write(i % 3 == 0 and message("NO") or message("OK"))
          call:finish(i % 5 == 0 and 14 or 0, "")
        end
      end
      if round % 2 == 0 then pair.take(acker) end
      if round % 3 == 0 then
        channel:close()
        acker:close()
        channel = pair.channel(target)
      else
        acker:close()
      end
      for _, op in ipairs(open) do op:close() end
      open = {}
    end
  end)

  it("keeps up with thousands, in flight and answered at the same time", function()
    new_acker({ limit = 64 })
    local sent, answered = 0, 0
    local calls = {}
    while acker:counts() > 0 or sent < 5000 do
      while sent < 5000 and acker:send(tostring(sent), 1, 0, sent % 100 == 0) do sent = sent + 1 end
      for call in function() return server:take() or nil end do calls[call] = true end
      for call in pairs(calls) do
        if call:take() then
          call:write(message("OK"))
          call:finish()
          calls[call] = nil
          answered = answered + 1
        end
      end
      local result = acker:take()
      if result then assert.is_true(result.ok) end
      core.poll(0.01, {})
    end
    assert.equal(5000, answered)
    assert.same({ 0, 5000 }, { acker:counts() })
    while acker:take() do end
  end)

  it("raises for what it cannot use", function()
    assert.has_error(function() core.acker(channel, { path = "/x" }) end)
    assert.error_matches(function() new_acker({ expected = ("x"):rep(65) }) end, "expected")
    assert.error_matches(function() new_acker({ limit = 0 }) end, "limit")
    new_acker()
    assert.has_error(function() acker:send() end)
    assert.has_error(function() acker:send("x", "first", 0, false) end)
    acker:close()
    channel:close()
    assert.error_matches(function() new_acker() end, "closed")
    channel = pair.channel(target)
  end)
end)
