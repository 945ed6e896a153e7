local api = require("spec.support.api")
local collector = require("spec.support.collector")
local core = require("wgtwo.core")
local live = require("spec.support.live")
local loop = require("wgtwo.loop")
local pair = require("spec.support.pair")
local wgtwo = require("wgtwo")

local ROUNDS, WARM_UP = 1000, 200
local TOGETHER = 20 -- rounds until all that they made must have ended, so that memory does not depend on the pace
local MEGABYTE = 1024 * 1024
local sanitized = os.getenv("WGTWO_TEST_SANITIZER") ~= nil -- whose shadow memory and quarantine are no measure

-- Answers calls in this process, as far as they have come.
local function serve(server)
  for accepted in function() return server:take() or nil end do
    accepted:write(pair.message("x"))
    accepted:finish()
    accepted:close()
  end
end

-- Waits on the scheduler, where its tasks must not miss news.
local function until_in_tasks(condition, what)
  local deadline = core.now() + 20
  while not condition() do
    if core.now() > deadline then error(what .. " did not happen within 20 s", 2) end
    loop.sleep(0.001)
  end
end

-- Runs `round` often, under a collector that never rests; nothing may be left, and nothing may grow.
-- after: what a peer has to do meanwhile; nil: the peer is a task of the scheduler
local function check_rounds(round, after)
  local until_ = after and pair.until_ or until_in_tasks
  collector.restless()
  local alive_before = live.count()
  local function settle()
    local ended, problem = pcall(until_, function()
      if after then after() end
      return live.count() <= alive_before
    end, "the end of what was made")
    if not ended then error(problem .. ": " .. live.describe(live.count()), 0) end
  end
  local function run(rounds)
    for i = 1, rounds do
      round()
      if i % TOGETHER == 0 then settle() end
    end
  end
  run(WARM_UP)
  local fds, resident = live.fds(), live.resident()
  run(ROUNDS)
  collector.rest()
  assert.equal(alive_before, (live.count()))
  until_(function() return live.fds() <= fds end, "the end of connections")
  if not sanitized then
    local grown = live.resident() - resident
    assert.is_true(grown < 6 * MEGABYTE, ("%.1f MB more after %d rounds"):format(grown / MEGABYTE, ROUNDS))
  end
end

local function nothing() end

describe("lifecycle", function()
  describe("of 1,000", function()
    local server, target, channel

    before_each(function()
      server, target = pair.server()
      channel = pair.channel(target)
    end)

    after_each(function()
      channel:close()
      server:close()
    end)

    it("channels, created and closed", function()
      check_rounds(function() pair.channel(target):close() end, nothing)
    end)

    it("channels, created and dropped", function()
      check_rounds(function() pair.channel(target) end, nothing)
    end)

    local kinds = { "unary", "server", "client", "bidi" }
    local count = 0
    local function start_call(on)
      count = count + 1
      local call = pair.call(on, kinds[count % 4 + 1], { track = count % 3 == 0 })
      if count % 4 >= 2 then call:write(pair.message("hello")) end
      return call
    end
    local function answer() serve(server) end

    it("calls of all kinds, created and closed", function()
      check_rounds(function()
        start_call(channel):close()
        answer()
      end, answer)
    end)

    it("calls of all kinds, created and dropped", function()
      check_rounds(function()
        start_call(channel)
        answer()
      end, answer)
    end)

    it("calls that ran to their end, closed or dropped", function()
      check_rounds(function()
        local call = pair.call(channel, "unary")
        pair.until_(function()
          answer()
          return call:status()
        end)
        count = count + 1
        if count % 2 == 0 then call:close() end
      end, answer)
    end)

    it("connections: channels with a call, both dropped", function()
      check_rounds(function()
        start_call(pair.channel(target))
        answer()
      end, answer)
    end)

    it("ackers with acknowledgements in flight, closed or dropped", function()
      check_rounds(function()
        local acker = core.acker(channel,
          { path = "/x/Ack", reply = pair.TEXT, expected = pair.message("x"), timeout = 5, limit = 10 })
        for i = 1, 3 do acker:send("x", 1, 0, i == 1) end
        answer()
        count = count + 1
        if count % 2 == 0 then acker:close() end
      end, answer)
    end)

    it("servers, created and closed or dropped, started or not", function()
      check_rounds(function()
        count = count + 1
        local another = core.server()
        if count % 3 > 0 then assert(another:listen("127.0.0.1:0")) end
        if count % 3 > 1 then another:start() end
        if count % 2 == 0 then another:close() end
      end, nothing)
    end)
  end)

  describe("of 1,000 clients", function()
    local service

    before_each(function()
      service = api.start()
      service:on("sms.v1.SmsService/SendTextToSubscriber", function(call) call:reply({ message_id = "1" }) end)
      service:on("events.v0.EventsService/Subscribe", function(call) call:until_cancelled() end)
    end)

    after_each(function() service:stop() end)

    local function connect()
      return assert(wgtwo.connect({ target = service.target, plaintext = true, auth = false }))
    end

    it("created and closed", function()
      check_rounds(function() connect():close() end)
    end)

    it("created and dropped", function()
      check_rounds(connect)
    end)

    it("with a subscription under way, created and closed or dropped", function()
      local count = 0
      check_rounds(function()
        count = count + 1
        local client = connect()
        local sub = client:events({ types = { "SMS_EVENT" }, queue = "q" })
        if count % 4 == 0 then sub:next(0.0001) end
        loop.sleep(0)
        if count % 2 == 0 then client:close() end
      end)
    end)
  end)

  it("an error raised in the body of a loop leaves nothing outstanding", function()
    local service <close> = api.start()
    service:on("events.v0.EventsService/Subscribe", function(call)
      for _ = 1, 10 do call:send({ event = { sms_event = { text = "x" } } }) end
      call:until_cancelled()
    end)
    service:on("NumberLookupService/NumberLookup", function(call)
      for _ = 1, 10 do call:send({}) end
      call:until_cancelled()
    end)
    local client <close> = assert(wgtwo.connect({ target = service.target, plaintext = true, auth = false }))
    local before = live.count()
    for _ = 1, 20 do
      assert.error_matches(function()
        for _ in client:events({ types = { "SMS_EVENT" } }) do error("in the body of events") end
      end, "in the body of events")
      assert.error_matches(function()
        local stream <close> = assert(client:stream("NumberLookupService/NumberLookup"))
        for _ in stream do error("in the body of a stream") end
      end, "in the body of a stream")
      assert.error_matches(function()
        coroutine.wrap(function()
          for _ in client:events({ types = { "SMS_EVENT" } }) do error("in a coroutine") end
        end)()
      end, "in a coroutine")
      assert.error_matches(function()
        wgtwo.run(function()
          for _ in client:events({ types = { "SMS_EVENT" } }) do error("in a task") end
        end)
      end, "in a task")
    end
    assert.equal(0, client:stats().open)
    assert.equal(0, client:stats().subscriptions)
    service:until_(function() return live.count() <= before + 1 end, "the end of the streams")
  end)

  it("memory stays flat over a million events", function()
    local total = (sanitized or collector.restless_always) and 50000 or 1000000
    local server, target = pair.server()
    local channel = pair.channel(target)
    local call = pair.call(channel, "server")
    local accepted = pair.take(server)
    local event = pair.message(("x"):rep(300))
    local sent, received, settled = 0, 0, nil
    while received < total do
      while sent < total and accepted:write(event) do sent = sent + 1 end
      local before = received
      for _ in function() return call:take() or nil end do received = received + 1 end
      if received == before then
        assert.is_nil(call:status())
        pair.news("the next event")
      end
      if not settled and received >= total / 10 then settled = live.resident() end
    end
    local grown = live.resident() - settled
    if not sanitized then
      assert.is_true(grown < 6 * MEGABYTE, ("%.1f MB more resident"):format(grown / MEGABYTE))
    end
    for _, op in ipairs({ call, accepted, channel, server }) do op:close() end
  end)
end)

describe("with a finalizer in the middle of a method,", function()
  local server, channel

  before_each(function()
    server, channel = pair.connected()
  end)

  after_each(function()
    channel:close()
    server:close()
  end)

  describe("an operation that a finalizer closes while one of its methods makes values", function()
    local function closed_during(op, f)
      local ok, result = collector.amid(function() op:close() end, f)
      assert.match("%(closed%)$", tostring(op))
      return ok, result
    end

    local function settle()
      for _ = 1, 5 do core.poll(0.01, {}) end
    end

    it("still has its status and its reply", function()
      local call = pair.call(channel, "unary")
      pair.take(server):finish(5, "no", { { "a", "b" } })
      pair.until_(function() return call:status() end, "the end of the call")
      local _, status = closed_during(call, function() return call:status() end)
      assert.equal("no", status.message)
      call = pair.call(channel, "unary")
      pair.take(server):reply(pair.message(("x"):rep(1000)))
      pair.until_(function() return call:status() end, "the end of the call")
      local ok, reply = closed_during(call, function() return call:take() end)
      assert.is_true(ok)
      assert.equal(("x"):rep(1000), pair.text(reply))
    end)

    it("has what a stream had received", function()
      local call = pair.call(channel, "server")
      local accepted <close> = pair.take(server)
      for _ = 1, 10 do accepted:write(pair.message(("x"):rep(1000))) end
      settle()
      local last
      closed_during(call, function()
        for _ = 1, 10 do last = pair.text(call:take()) end
      end)
      assert.equal(("x"):rep(1000), last)
    end)

    it("is a server that hands out no more calls, or a channel that starts none", function()
      local call <close> = pair.call(channel, "unary")
      pair.until_(function() return select(2, core.live())["wgtwo.server_call"] end, "the call")
      closed_during(server, function()
        for _ = 1, 20 do assert.is_false(server:take()) end
      end)
      call:cancel()
      local ok = closed_during(channel, function()
        for _ = 1, 20 do pair.call(channel, "unary"):close() end
      end)
      assert.is_false(ok)
    end)
  end)

  describe("a message that a finalizer takes while another is being taken", function()
    local SIZE = 100000 -- a block of the inbox for each
    local function text(letter) return letter:rep(SIZE) end

    -- Takes with a finalizer that takes too, in the middle, and uses the memory that is free then; returns what each
    -- got.
    local function taken_twice(take)
      local inner
      local ok, outer = collector.amid(function()
        if inner ~= nil then return end
        inner = take() or false
        inner = inner and pair.text(inner)
        for i = 1, 20 do assert(#("z"):rep(SIZE + i) > SIZE) end
      end, take)
      assert.is_true(ok)
      return outer and pair.text(outer), inner
    end

    -- Each of three messages comes once, and whole, whoever takes it.
    local function takes_each(op)
      local function take() return (op:take(pair.TEXT)) end
      local outer, inner = taken_twice(take)
      local got, both = {}, inner and outer
      for _, one in ipairs{ inner or "", outer or "" } do got[one:sub(1, 1)] = one end
      while not (got.a and got.b and got.c) do
        local one = pair.text(pair.on_news(take, "a message"))
        got[one:sub(1, 1)] = one
      end
      assert.is_true(got.a == text("a") and got.b == text("b") and got.c == text("c"))
      return both
    end

    it("is another one, of a call's stream", function()
      local both = 0
      for _ = 1, 20 do
        local call <close> = pair.call(channel, "server")
        local accepted <close> = pair.take(server)
        for _, letter in ipairs{ "a", "b", "c" } do pair.write(accepted, pair.message(text(letter))) end
        accepted:finish()
        pair.until_(function() return call:status() end, "the end of the call")
        if takes_each(call) then both = both + 1 end
      end
      assert.is_true(both > 0)
    end)

    it("is another one, of a server's call", function()
      local both = 0
      for _ = 1, 20 do
        local call <close> = pair.call(channel, "client")
        local accepted <close> = pair.take(server)
        for _, letter in ipairs{ "a", "b", "c" } do
          pair.on_news(function() return call:write(pair.message(text(letter))) end, "room")
        end
        pair.half_close(call)
        if takes_each(accepted) then both = both + 1 end
      end
      assert.is_true(both > 0)
    end)

    it("is the only reply of a call", function()
      local within = 0
      for _ = 1, 20 do
        local call <close> = pair.call(channel, "unary")
        local accepted <close> = pair.take(server)
        accepted:reply(pair.message(text("a")))
        pair.until_(function() return call:status() end, "the end of the call")
        local outer, inner = taken_twice(function() return call:take() end)
        assert.is_true(inner == text("a") and outer == nil or inner == false and outer == text("a"))
        if inner then within = within + 1 end
      end
      assert.is_true(within > 0)
    end)
  end)
end)

describe("a module that is opened once more", function()
  it("is the same one, and goes on working when its first table is garbage", function()
    local first = package.loaded["wgtwo.core"]
    package.loaded["wgtwo.core"] = nil
    local second = require("wgtwo.core")
    package.loaded["wgtwo.core"] = first
    collectgarbage()
    collectgarbage()
    assert.is_true(rawequal(first, second))
    assert.equal(0, second.poll(0, {}))
  end)
end)
