local core = require("wgtwo.core")
local requests = require("spec.support.requests")
local support = require("spec.support.sandbox")
local wgtwo = require("wgtwo")

local open, read, post = support.open, support.read, support.post

local METHOD <const> = "wgtwo.subscription.v0.SubscriptionIdService/GetMsisdn"
local SUBSCRIBE <const>, ACK <const> = "wgtwo.events.v0.EventsService/Subscribe", "wgtwo.events.v0.EventsService/Ack"
local HANDSET <const> = wgtwo.limits.events_v1.streams.handset_change

describe("sandbox faults:", function()
  local sandbox, client

  setup(function()
    sandbox = support.start{ clock = "virtual", seed = 3, wire = true, clients = {
      { id = "id", secret = "secret" }, { id = "other", secret = "secret2" },
    } }
    client = support.connect(sandbox)
  end)

  teardown(function()
    client:close()
    sandbox:close()
  end)

  before_each(function() assert(sandbox:reset()) end)

  local function call(method, options)
    method = method or METHOD
    local reply, err = client:call(method, requests.valid(method), options)
    return err and err.code or "OK", err, reply
  end

  local function publish(text)
    return assert(sandbox:publish{ type = "SMS_EVENT", number = "+4799990001", payload = { text = text } })
  end

  local function subscribe(more)
    local request = { type = { "SMS_EVENT" } }
    for name, value in pairs(more or {}) do request[name] = value end
    return open(sandbox, client, SUBSCRIBE, request)
  end

  local function text(message) return message.event.sms_event.text end

  describe("of calls:", function()
    it("a status with message and details", function()
      sandbox:fault{ method = "GetMsisdn", code = "FAILED_PRECONDITION", message = "not now", count = 1, details = {
        { type = "google.rpc.ErrorInfo", reason = "TEST", metadata = { a = "b" } } } }
      local code, err = call()
      assert.equal("FAILED_PRECONDITION", code)
      assert.equal("not now", err.message)
      assert.equal("TEST", err.details[1].reason)
      assert.equal("OK", (call()))
    end)

    it("by method: its name, an ending, \"…/ending\", or all", function()
      for _, method in ipairs{ METHOD, "SubscriptionIdService/GetMsisdn", "…/GetMsisdn", "GetMsisdn", "*" } do
        local id = sandbox:fault{ method = method, code = "ABORTED" }
        assert.equal("ABORTED", (call()))
        sandbox:clear_faults(id)
      end
      sandbox:fault{ method = "GetSubscriptionId", code = "ABORTED" }
      assert.equal("OK", (call()))
    end)

    it("by client", function()
      local mine <close> = support.connect(sandbox, { "subscription.id:read" })
      sandbox:fault{ client = "id", code = "ABORTED" }
      assert.equal("OK", (call()))
      local _, err = mine:call(METHOD, {})
      assert.equal("ABORTED", err.code)
    end)

    it("the nth call alone", function()
      sandbox:fault{ method = "GetMsisdn", nth = 3, code = "ABORTED" }
      assert.same({ "OK", "OK", "ABORTED", "OK" }, { (call()), (call()), (call()), (call()) })
    end)

    it("so many calls", function()
      sandbox:fault{ method = "GetMsisdn", count = 2, code = "ABORTED" }
      assert.equal(1, #sandbox:faults())
      assert.same({ "ABORTED", "ABORTED", "OK" }, { (call()), (call()), (call()) })
      assert.equal(0, #sandbox:faults())
    end)

    it("with a probability, the same calls with the same seed", function()
      local function pattern()
        sandbox:reset()
        sandbox:fault{ method = "GetMsisdn", probability = 0.5, code = "ABORTED" }
        local hits = {}
        for i = 1, 30 do hits[i] = (call()) == "ABORTED" and "x" or "." end
        return table.concat(hits)
      end
      local first = pattern()
      assert.matches("x", first, 1, true)
      assert.matches(".", first, 1, true)
      assert.equal(first, pattern())
    end)

    it("a delay, fixed or uniform, on the sandbox's clock", function()
      for _, delay in ipairs{ 30, { 10, 30 } } do
        sandbox:fault{ method = "GetMsisdn", delay = delay, count = 1 }
        local task = wgtwo.spawn(function() return (call(METHOD)) end)
        support.until_(function() return #sandbox:journal{ method = "GetMsisdn" } > 0 end, "the call")
        sandbox:advance(9)
        assert.is_nil(sandbox:journal{ method = "GetMsisdn" }[1].code)
        sandbox:advance(21.5)
        assert.equal("OK", task:join(5))
        sandbox:reset()
      end
    end)

    it("a call that hangs until its deadline", function()
      sandbox:fault{ method = "GetMsisdn", hang = true, count = 1 }
      assert.equal("DEADLINE_EXCEEDED", (call(METHOD, { timeout = 0.2 })))
      assert.equal("OK", (call()))
    end)

    it("a reset", function()
      sandbox:fault{ method = "GetMsisdn", reset = true, count = 1 }
      assert.equal("UNAVAILABLE", (call()))
    end)

    it("an oversized reply, which is a valid one to whoever takes it", function()
      sandbox:fault{ method = "GetMsisdn", oversized = 5 * 1024 * 1024 }
      assert.equal("RESOURCE_EXHAUSTED", (call()))
      local code, _, reply = call(METHOD, { max_message_size = 8 * 1024 * 1024 })
      assert.equal("OK", code)
      assert.not_equal("", reply.phone_number.e164)
    end)

    it("a reply that is no protobuf", function()
      sandbox:fault{ method = "GetMsisdn", invalid = true, count = 1 }
      local code, err = call()
      assert.not_equal("OK", code)
      assert.is_truthy(err)
    end)

    it("a rate limit with RetryInfo", function()
      sandbox:fault{ method = "GetMsisdn", retry_after = 1.5, count = 1 }
      local code, err = call()
      assert.equal("RESOURCE_EXHAUSTED", code)
      assert.equal("google.rpc.RetryInfo", err.details[1].type)
      assert.equal(1, err.details[1].retry_delay.seconds)
    end)

    it("is refused where it says what there is not", function()
      for _, fault in ipairs{ { method = "NoSuchMethod", code = "ABORTED" }, { code = "NO_SUCH_CODE" },
          { cod = "ABORTED" }, { code = "ABORTED", details = { { type = "no.such.Type" } } }, { probability = 2 } } do
        assert.has_error(function() sandbox:fault(fault) end)
      end
    end)
  end)

  describe("of acknowledgements:", function()
    it("applied, but an error is returned", function()
      local stream <close> = subscribe{ manual_ack = { enable = true } }
      local id = publish("x")
      local metadata = read(stream).event.metadata
      sandbox:fault{ method = "…/Ack", applied = true, count = 1 }
      local _, err = client:call(ACK, { inbox = metadata.ack_inbox, sequence = metadata.sequence })
      assert.equal("UNAVAILABLE", err.code)
      assert.same({ 1, 1 }, { support.counts(sandbox, id) })
    end)

    it("not applied, with an error", function()
      local stream <close> = subscribe{ manual_ack = { enable = true } }
      local id = publish("x")
      local metadata = read(stream).event.metadata
      sandbox:fault{ method = "…/Ack", code = "UNAVAILABLE", count = 1 }
      local _, err = client:call(ACK, { inbox = metadata.ack_inbox, sequence = metadata.sequence })
      assert.equal("UNAVAILABLE", err.code)
      assert.same({ 1, 0 }, { support.counts(sandbox, id) })
    end)

    it("FAILURE of v1, with gRPC status OK and nothing done", function()
      local stream <close> = open(sandbox, client, HANDSET.stream, {})
      local id = assert(sandbox:publish{ type = "handset_change" })
      local info = read(stream).metadata.ack_info
      sandbox:fault{ method = HANDSET.ack, ack_status = "STATUS_CODE_FAILURE", count = 1 }
      local function ack() return assert(client:call(HANDSET.ack, { ack_info = info })).ack_status.status_code end
      assert.equal("STATUS_CODE_FAILURE", ack())
      assert.same({ 1, 0 }, { support.counts(sandbox, id) })
      assert.equal("STATUS_CODE_SUCCESS", ack())
      assert.same({ 1, 1 }, { support.counts(sandbox, id) })
    end)
  end)

  describe("of streams:", function()
    it("an early clean end", function()
      sandbox:fault{ method = "Subscribe", code = "OK", after = 2, count = 1 }
      local stream <close> = subscribe()
      for i = 1, 3 do publish("e" .. i) end
      assert.equal("e1", text(read(stream)))
      assert.equal("e2", text(read(stream)))
      assert.equal("OK", (support.ending(stream)))
    end)

    it("a status after some messages, a reset after some messages", function()
      sandbox:fault{ method = "Subscribe", code = "INTERNAL", after = 1, count = 1 }
      local stream <close> = subscribe()
      publish("x")
      read(stream)
      assert.equal("INTERNAL", (support.ending(stream)))
      sandbox:fault{ method = "Subscribe", reset = true, after = 1, count = 1 }
      local second <close> = subscribe()
      publish("x")
      assert.equal("UNAVAILABLE", (support.ending(second)))
    end)

    it("a status at once", function()
      sandbox:fault{ method = "Subscribe", code = "PERMISSION_DENIED", count = 1 }
      local stream <close> = assert(client:stream(SUBSCRIBE, { type = { "SMS_EVENT" } }))
      assert.equal("PERMISSION_DENIED", (support.ending(stream)))
    end)

    it("duplicates", function()
      sandbox:fault{ method = "Subscribe", duplicate = true, count = 1 }
      local stream <close> = subscribe()
      local id = publish("x")
      assert.equal(id, read(stream).event.metadata.sequence)
      assert.equal(id, read(stream).event.metadata.sequence)
    end)

    it("another order", function()
      sandbox:fault{ method = "Subscribe", reorder = true, count = 1 }
      local stream <close> = subscribe()
      for i = 1, 4 do publish("e" .. i) end
      local got = {}
      for i = 1, 4 do got[i] = text(read(stream)) end
      assert.same({ "e2", "e1", "e4", "e3" }, got)
    end)

    it("a message that is no protobuf, one that is too large", function()
      sandbox:fault{ method = "Subscribe", invalid = true, after = 1, count = 1 }
      local stream <close> = subscribe()
      publish("x")
      assert.equal("x", text(read(stream)))
      publish("y")
      local code = support.ending(stream)
      assert.not_equal("OK", code)
      sandbox:fault{ method = "Subscribe", oversized = 5 * 1024 * 1024, count = 1 }
      local second <close> = subscribe()
      publish("x")
      assert.equal("RESOURCE_EXHAUSTED", (support.ending(second)))
    end)
  end)

  describe("of the token endpoint:", function()
    local function token()
      return post(sandbox, "/oauth2/token", { grant_type = "client_credentials" }, { username = "id",
        password = "secret",
        timeout = 5 })
    end

    it("any error and status", function()
      sandbox:fault{ endpoint = "token", status = 503, error = "temporarily_unavailable", count = 1 }
      local response = token()
      assert.equal(503, response.status)
      assert.equal("temporarily_unavailable", response.json.error)
      assert.equal(200, token().status)
    end)

    it("an HTML body", function()
      sandbox:fault{ endpoint = "token", status = 502, body = "<html>bad gateway</html>", content_type = "text/html",
        count = 1 }
      local response = token()
      assert.equal("text/html", response.headers["content-type"])
      assert.is_nil(response.json)
    end)

    it("a cut body", function()
      sandbox:fault{ endpoint = "token", cut = 20, count = 1 }
      local response = token()
      assert.equal(20, #response.body)
      assert.is_nil(response.json)
    end)

    it("a wrong type", function()
      sandbox:fault{ endpoint = "token", content_type = "text/plain", count = 1 }
      assert.equal("text/plain", token().headers["content-type"])
    end)

    it("odd expires_in", function()
      for _, odd in ipairs{ -1, 0, "soon", 1e300, false } do
        sandbox:fault{ endpoint = "token", expires_in = odd, count = 1 }
        assert.equal(odd, token().json.expires_in)
      end
    end)

    it("slow", function()
      sandbox:fault{ endpoint = "token", delay = 60, count = 1 }
      local task = wgtwo.spawn(function() return token().status end)
      support.until_(function() return #sandbox:journal{ method = "/oauth2/token" } > 0 end, "the request")
      sandbox:advance(61)
      assert.equal(200, task:join(5))
    end)

    it("no answer", function()
      sandbox:fault{ endpoint = "token", hang = true, count = 1 }
      assert.has_error(function()
        post(sandbox, "/oauth2/token", { grant_type = "client_credentials" },
          { username = "id", password = "secret", timeout = 0.2 })
      end)
    end)

    it("for one client", function()
      sandbox:fault{ endpoint = "token", client = "other", status = 500 }
      assert.equal(200, token().status)
    end)
  end)

  describe("of the wire:", function()
    local function fresh(options)
      local o = sandbox:client(false)
      for name, value in pairs(options or {}) do o[name] = value end
      return assert(wgtwo.connect(o))
    end

    after_each(function() assert(sandbox:clear_wire()) end)

    it("refused connects", function()
      sandbox:wire{ refuse = true }
      local by <close> = fresh()
      local _, err = by:call(METHOD, {})
      assert.equal("UNAVAILABLE", err.code)
    end)

    it("silent drop, noticed by keep-alive", function()
      local by <close> = fresh{ keepalive = { time = 0.1, timeout = 0.2 } }
      local stream <close> = open(sandbox, by, SUBSCRIBE, { type = { "SMS_EVENT" } })
      sandbox:wire{ drop = true }
      assert.equal("UNAVAILABLE", (support.ending(stream)))
    end)

    it("reset and close of what is open", function()
      for _, how in ipairs{ "reset", "close" } do
        local by <close> = fresh()
        local stream <close> = open(sandbox, by, SUBSCRIBE, { type = { "SMS_EVENT" } })
        sandbox:wire{ [how] = true }
        assert.equal("UNAVAILABLE", (support.ending(stream)))
      end
    end)

    it("half-open: connections are accepted and nothing is read", function()
      sandbox:wire{ half_open = true }
      local by <close> = fresh{ connect_timeout = 0.3 }
      local _, err = by:call(METHOD, {}, { timeout = 2 })
      assert.is_truthy(err)
    end)

    it("delay and little bandwidth", function()
      sandbox:wire{ delay = 0.05, bandwidth = 100000 }
      local by <close> = fresh()
      local before = core.now()
      assert(by:call(METHOD, requests.valid(METHOD)))
      assert.is_true(core.now() - before >= 0.1)
    end)

    it("cut in the middle of a frame", function()
      local by <close> = fresh()
      local stream <close> = open(sandbox, by, SUBSCRIBE, { type = { "SMS_EVENT" } })
      sandbox:wire{ cut_after = 40 }
      publish(("x"):rep(1000))
      assert.equal("UNAVAILABLE", (support.ending(stream)))
    end)

    it("needs the forwarders, and knows its settings", function()
      assert.has_error(function() sandbox:wire{ drip = true } end)
      local without <close> = support.start{}
      local nothing, err = without:wire{ drop = true }
      assert.is_nil(nothing)
      assert.equal(409, err.http_status)
    end)
  end)
end)
