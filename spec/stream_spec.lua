local Api = require("spec.support.api")
local core = require("wgtwo.core")
local wgtwo = require("wgtwo")

local LOOKUP = "wgtwo.lookup.v0.NumberLookupService/NumberLookup"
local SUBSCRIBE = "wgtwo.events.v0.EventsService/Subscribe"

describe("stream", function()
  local api, client

  before_each(function()
    api = Api.start()
    client = assert(wgtwo.connect{ target = api.target, plaintext = true, auth = false, logger = false })
  end)

  after_each(function()
    client:close()
    api:stop()
  end)

  -- A server that asks for these ids, then takes answers until the client has said them all.
  local function ask(ids)
    api:on(LOOKUP, function(call)
      for _, id in ipairs(ids) do call:send{ id = id } end
      call.record.answers = {}
      for answer in function() return call:request() end do
        table.insert(call.record.answers, answer.number_lookup_request.id .. "=" .. answer.result.name)
      end
    end)
  end

  it("reads and writes, and ends well after finish", function()
    ask{ "1", "2" }
    local stream <close> = assert(client:stream(LOOKUP))
    for i = 1, 2 do
      local question = assert(stream:read(10))
      assert.equal(tostring(i), question.id)
      assert(stream:write{ number_lookup_request = question, result = { name = "shop " .. i } })
    end
    assert.is_true(stream:finish())
    local message, err = stream:read(10)
    assert.is_nil(message)
    assert.is_nil(err)
    assert.same({ "1=shop 1", "2=shop 2" }, api.calls[1].answers)
    assert.is_nil((stream:read()))
    local ok, write_err = stream:write{}
    assert.is_nil(ok)
    assert.equal("closed", write_err.kind)
  end)

  it("is read by one coroutine while another writes", function()
    api:on(LOOKUP, function(call)
      for answer in function() return call:request() end do call:send(answer.number_lookup_request) end
    end)
    local stream <close> = assert(client:stream(LOOKUP))
    local seen = {}
    wgtwo.run(function()
      wgtwo.spawn(function()
        for message in stream do seen[#seen + 1] = message.id end
      end)
      for i = 1, 500 do assert(stream:write{ number_lookup_request = { id = tostring(i) } }) end
      stream:finish()
    end)
    assert.equal(500, #seen)
    assert.equal("500", seen[500])
  end)

  it("says when nothing came in time, and goes on", function()
    local go = false
    api:on(LOOKUP, function(call)
      while not go do wgtwo.sleep(0.005) end
      call:send{ id = "late" }
      call:until_cancelled()
    end)
    local stream <close> = assert(client:stream(LOOKUP))
    local message, err = stream:read(0.05)
    assert.is_nil(message)
    assert.equal("timeout", err.kind)
    go = true
    assert.equal("late", assert(stream:read(10)).id)
  end)

  it("gives an error where the server ends it with one, and raises it in a for", function()
    local function handler(call)
      call:send{ id = "1" }
      call:fail(10, "conflict")
    end
    api:on(LOOKUP, handler)
    local stream <close> = assert(client:stream(LOOKUP))
    assert(stream:read(10))
    local message, err = stream:read(10)
    assert.is_nil(message)
    assert.equal("ABORTED", err.code)
    assert.equal(LOOKUP, err.method)
    assert.equal(err, select(2, stream:read()))

    local other <close> = assert(client:stream(LOOKUP))
    local count = 0
    local ok, raised = pcall(function()
      for _ in other do count = count + 1 end
    end)
    assert.is_false(ok)
    assert.equal("ABORTED", raised.code)
    assert.equal(1, count)
  end)

  it("has a request where the method takes just one", function()
    api:on(SUBSCRIBE, function(call)
      call:send{ event = { service_id = call.record.request.queue_name } }
    end)
    local stream <close> = assert(client:stream(SUBSCRIBE, { type = { "SMS_EVENT" }, queue_name = "q" }))
    assert.equal("q", assert(stream:read(10)).event.service_id)
    assert.is_nil((stream:read(10)))
    assert.error_matches(function() stream:write{} end, "takes one request")
    assert.error_matches(function() client:stream(LOOKUP, {}) end, "stream:write")
  end)

  it("is cancelled, and closed, also under a reader", function()
    api:on(LOOKUP, function(call) call:until_cancelled() end)
    local stream = assert(client:stream(LOOKUP))
    wgtwo.run(function()
      local reader = wgtwo.spawn(function() return stream:read() end)
      api:until_(function() return #api.calls == 1 end)
      stream:cancel()
      local message, err = reader:join()
      assert.is_nil(message)
      assert.equal("closed", err.kind)
    end)
    stream:close()

    local other = assert(client:stream(LOOKUP))
    wgtwo.run(function()
      local reader = wgtwo.spawn(function() return other:read() end)
      api:until_(function() return #api.calls == 2 end)
      other:close()
      local message, err = reader:join()
      assert.is_nil(message)
      assert.equal("closed", err.kind)
    end)
    other:close()
    assert.equal("closed", select(2, other:write{}).kind)
  end)

  it("begins again with a new token after UNAUTHENTICATED, where nothing has come", function()
    local count = 0
    local source = { invalidate = function(self) self.current = nil end, peek = function(self) return self.current end }
    function source:token()
      if not self.current then
        count = count + 1
        self.current = { access_token = "t" .. count }
      end
      return self.current
    end
    api:on(SUBSCRIBE, function(call)
      if call.metadata.authorization == "Bearer t1" then return call:fail(16, "old") end
      call:send{ event = { service_id = call.metadata.authorization } }
    end)
    local owner <close> = assert(wgtwo.connect{ target = api.target, plaintext = true, auth = source, logger = false })
    local stream <close> = assert(owner:stream(SUBSCRIBE, { type = { "SMS_EVENT" } }))
    assert.equal("Bearer t2", assert(stream:read(10)).event.service_id)
    assert.equal(2, count)
  end)

  it("has a timeout of its own", function()
    api:on(LOOKUP, function(call) call:until_cancelled() end)
    local stream <close> = assert(client:stream(LOOKUP, nil, { timeout = 0.1 }))
    local _, err = stream:read(10)
    assert.equal("DEADLINE_EXCEEDED", err.code)
  end)

  it("ends with its client", function()
    api:on(LOOKUP, function(call) call:until_cancelled() end)
    local stream = assert(client:stream(LOOKUP))
    wgtwo.run(function()
      local reader = wgtwo.spawn(function() return stream:read() end)
      api:until_(function() return #api.calls == 1 end)
      client:close()
      assert.equal("closed", select(2, reader:join()).kind)
    end)
  end)

  it("holds a writer back while the server does not read, and says when it may not wait longer", function()
    local go = false
    api:on(LOOKUP, function(call)
      while not go do wgtwo.sleep(0.005) end
      while call:request() do end
    end)
    local stream <close> = assert(client:stream(LOOKUP))
    local big, count = { result = { name = ("x"):rep(100000) } }, 0
    local ok, err
    repeat
      ok, err = stream:write(big, 0.3)
      count = count + 1
    until not ok or count > 1000
    assert.is_nil(ok)
    assert.equal("timeout", err.kind)
    go = true
    assert(stream:write(big, 10))
    stream:finish()
    assert.is_nil((stream:read(10)))
  end)

  it("that is forgotten is cancelled when it is collected", function()
    api:on(LOOKUP, function(call)
      call:until_cancelled()
      call.record.cancelled = true
    end)
    do
      local stream <const> = assert(client:stream(LOOKUP))
      api:until_(function() return stream and #api.calls == 1 end)
    end
    api:until_(function()
      collectgarbage()
      return api.calls[1].cancelled
    end)
    assert.is_true(core.live() > 0)
  end)
end)
