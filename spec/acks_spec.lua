local Api = require("spec.support.api")
local feeds = require("spec.support.feeds")
local wgtwo = require("wgtwo")

local SUBSCRIBE, ACK, HANDSETS, ACK_HANDSET = feeds.SUBSCRIBE, feeds.ACK, feeds.HANDSETS, feeds.ACK_HANDSET

describe("acknowledgements", function()
  local api, client, log

  local function connect(options)
    local all = { target = api.target, plaintext = true, auth = false, logger = function(level, message)
      log[#log + 1] = { level = level, message = message }
    end }
    for key, value in pairs(options or {}) do all[key] = value end
    client = assert(wgtwo.connect(all))
  end

  before_each(function()
    api, log = Api.start(), {}
    connect()
  end)

  after_each(function()
    client:close()
    api:stop()
  end)

  local function subscribe(options)
    local all = { types = { "SMS_EVENT" }, queue = "q" }
    for key, value in pairs(options or {}) do all[key] = value end
    return (client:events(all))
  end

  -- Answers acknowledgements in turn: each entry is a function of the call; then all succeed.
  local function script(method, answers, success)
    local count = 0
    api:on(method, function(call)
      count = count + 1
      local answer = answers[count]
      if answer then answer(call) else call:reply(success or {}) end
    end)
  end

  local function fail(code, message)
    return function(call) call:fail(code, message) end
  end

  it("carry inbox and sequence, and the second does nothing", function()
    feeds.send(api, SUBSCRIBE, { feeds.sms(41) })
    local acks = feeds.accept_acks(api)
    local sub <close> = subscribe()
    local event = assert(sub:next(10))
    assert.is_true(event:ack())
    assert.is_true(event:ack())
    assert.is_true(sub:close())
    assert.equal(1, #acks)
    assert.equal("inbox", acks[1].inbox)
    assert.equal(41, acks[1].sequence)
    assert.equal(1, sub:stats().acked)
  end)

  it("of v1 carry the ack_info", function()
    feeds.send(api, HANDSETS, { feeds.handset("x") })
    local acks = feeds.accept_acks(api)
    local sub <close> = subscribe{ types = { "handset_change" } }
    assert.is_true(assert(sub:next(10)):ack{ wait = true })
    assert.equal("ack-x", acks[1].ack_info.value)
    assert.equal(1, sub:stats().acked)
  end)

  it("return at once, and are pipelined", function()
    local replies, held = {}, {}
    for i = 1, 100 do replies[i] = feeds.sms(i) end
    feeds.send(api, SUBSCRIBE, replies)
    api:on(ACK, function(call)
      held[#held + 1] = call
      while #held < 100 do wgtwo.sleep(0.002) end
      call:reply{}
    end)
    local sub = subscribe{ max_in_flight = 100 }
    for _ = 1, 100 do assert.is_true(assert(sub:next(10)):ack()) end
    assert.is_true(sub:stats().in_flight > 0)
    assert.is_true(sub:close())
    assert.equal(100, sub:stats().acked)
    assert.equal(0, sub:stats().in_flight)
  end)

  it("more than the core takes wait, and none is lost", function()
    local replies, go = {}, false
    for i = 1, 700 do replies[i] = feeds.sms(i) end
    feeds.send(api, SUBSCRIBE, replies)
    api:on(ACK, function(call)
      while not go do wgtwo.sleep(0.005) end
      call:reply{}
    end)
    local sub = subscribe{ max_in_flight = 1000 }
    for _ = 1, 700 do assert(sub:next(10)):ack() end
    assert.equal(700, sub:stats().in_flight)
    go = true
    assert.is_true(sub:close(10))
    assert.equal(700, sub:stats().acked)
  end)

  it("wait for the answer where they are asked to", function()
    feeds.send(api, SUBSCRIBE, { feeds.sms(1), feeds.sms(2) })
    script(ACK, { function(call) call:reply{} end, fail(5, "no such event") })
    local sub <close> = subscribe()
    assert.is_true(assert(sub:next(10)):ack{ wait = true })
    local ok, err = assert(sub:next(10)):ack{ wait = true }
    assert.is_nil(ok)
    assert.equal("ack", err.kind)
    assert.equal("NOT_FOUND", err.code)
    assert.matches("no such event.*comes again", tostring(err))
  end)

  it("check their options", function()
    feeds.send(api, SUBSCRIBE, { feeds.sms(1) })
    local sub <close> = subscribe()
    local event = assert(sub:next(10))
    assert.error_matches(function() event:ack{ wiat = true } end, "wait")
  end)

  it("are tried again after a status that may pass", function()
    feeds.send(api, SUBSCRIBE, { feeds.sms(1) })
    script(ACK, { fail(14, "gone"), fail(13, "oops"), fail(8, "slower") })
    local sub = subscribe()
    assert.is_true(assert(sub:next(10)):ack{ wait = true })
    local stats = sub:stats()
    assert.equal(3, stats.ack_retries)
    assert.equal(1, stats.acked)
    assert.equal(0, stats.ack_failed)
    assert.equal(4, #api:seen(ACK))
    sub:close()
  end)

  it("of v1 are tried again after an answer that is not success", function()
    feeds.send(api, HANDSETS, { feeds.handset(1) })
    local function status(code) return { ack_status = { status_code = code } } end
    script(ACK_HANDSET, {
      function(call) call:reply(status("STATUS_CODE_FAILURE")) end,
      function(call) call:reply{} end,
    }, status("STATUS_CODE_SUCCESS"))
    local sub = subscribe{ types = { "handset_change" } }
    assert.is_true(assert(sub:next(10)):ack{ wait = true })
    assert.equal(2, sub:stats().ack_retries)
    assert.equal(1, sub:stats().acked)
    sub:close()
  end)

  it("are not tried again after a refusal; it is counted and logged", function()
    feeds.send(api, SUBSCRIBE, { feeds.sms(1) })
    script(ACK, { fail(7, "not yours") })
    local sub = subscribe()
    assert(sub:next(10)):ack()
    assert.is_true(sub:close())
    local stats = sub:stats()
    assert.equal(1, stats.ack_failed)
    assert.equal(0, stats.acked)
    assert.equal(1, #api:seen(ACK))
    local entry = log[#log]
    assert.equal("warn", entry.level)
    assert.matches("acknowledgement failed.*PERMISSION_DENIED.*not yours", entry.message)
  end)

  it("are given up after the ack timeout", function()
    feeds.send(api, SUBSCRIBE, { feeds.sms(1) })
    api:on(ACK, function(call) call:fail(14, "gone") end)
    local sub = subscribe{ ack_timeout = 1 }
    local ok, err = assert(sub:next(10)):ack{ wait = true }
    assert.is_nil(ok)
    assert.is_true(err.code == "UNAVAILABLE" or err.code == "DEADLINE_EXCEEDED", err.code) -- of the last try
    assert.is_true(sub:stats().ack_retries >= 1)
    assert.equal(1, sub:stats().ack_failed)
    sub:close()
  end)

  it("get a new token after UNAUTHENTICATED", function()
    local count = 0
    local source = { peek = function(self) return self.current end, invalidate = function(self) self.current = nil end }
    function source:token()
      if not self.current then
        count = count + 1
        self.current = { access_token = "t" .. count }
      end
      return self.current
    end
    client:close()
    connect{ auth = source }
    feeds.send(api, SUBSCRIBE, { feeds.sms(1) })
    api:on(ACK, function(call)
      if call.metadata.authorization == "Bearer t1" then call:fail(16, "old") else call:reply{} end
    end)
    local sub = subscribe()
    assert.is_true(assert(sub:next(10)):ack{ wait = true })
    assert.equal(2, count)
    assert.equal(1, sub:stats().ack_retries)
    sub:close()
  end)

  it("get the new token of a source that renewed it", function()
    local token = { access_token = "t1" }
    client:close()
    connect{ auth = { token = function() return token end, peek = function() return token end } }
    feeds.send(api, SUBSCRIBE, { feeds.sms(1), feeds.sms(2) })
    feeds.accept_acks(api)
    local sub = subscribe()
    assert(assert(sub:next(10)):ack{ wait = true })
    token = { access_token = "t2" }
    assert(assert(sub:next(10)):ack{ wait = true })
    assert.equal("Bearer t2", api:seen(ACK)[2].metadata.authorization)
    sub:close()
  end)

  it("wait for a token where there is none at hand", function()
    local go, token = true, { access_token = "t1" }
    client:close()
    connect{ auth = { peek = function() return go and token or nil end, token = function()
      while not go do wgtwo.sleep(0.005) end
      return token
    end } }
    feeds.send(api, SUBSCRIBE, { feeds.sms(1) })
    feeds.accept_acks(api)
    local sub = subscribe()
    local event = assert(sub:next(10))
    go = false
    assert.is_true(event:ack())
    assert.equal(1, sub:stats().in_flight)
    go = true
    assert.is_true(sub:close())
    assert.equal(1, sub:stats().acked)
  end)

  it("that are not through when closing is over are counted, and the subscription ends", function()
    feeds.send(api, SUBSCRIBE, { feeds.sms(1) })
    api:on(ACK, function(call) call:until_cancelled() end)
    local sub = subscribe()
    assert(sub:next(10)):ack()
    local ok, err = sub:close(0.1)
    assert.is_nil(ok)
    assert.equal("timeout", err.kind)
    assert.matches("1 acknowledgement", err.message)
    assert.equal(0, sub:stats().in_flight)
  end)

  it("are flushed by closing the client", function()
    feeds.send(api, SUBSCRIBE, { feeds.sms(1), feeds.sms(2) })
    local acks = feeds.accept_acks(api)
    local sub = subscribe()
    assert(sub:next(10)):ack()
    assert(sub:next(10)):ack()
    assert.is_true(client:close())
    assert.equal(2, #acks)
  end)

  it("after the end say that it is closed", function()
    feeds.send(api, SUBSCRIBE, { feeds.sms(1) })
    local sub = subscribe()
    local event = assert(sub:next(10))
    sub:close()
    local ok, err = event:ack()
    assert.is_nil(ok)
    assert.equal("closed", err.kind)
  end)

  it("go on while a handler computes", function()
    feeds.send(api, SUBSCRIBE, { feeds.sms(1), feeds.sms(2) })
    feeds.accept_acks(api)
    local sub = subscribe()
    assert(sub:next(10)):ack()
    -- the server is of this process, so it needs a turn; the client's side does not
    wgtwo.sleep(0.05)
    assert.equal(1, sub:stats().acked)
    sub:close()
  end)
end)
