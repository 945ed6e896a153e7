local Identity = require("spec.support.identity")
local core = require("wgtwo.core")
local answer = require("wgtwo.oauth.answer")
local endpoint = require("wgtwo.oauth.endpoint")
local wgtwo = require("wgtwo")

local JSON = { ["Content-Type"] = "application/json" }

describe("oauth", function()
  local identity

  before_each(function() identity = Identity.start() end)
  after_each(function() identity:close() end)

  local function new_source(options)
    local all = { client_id = "my-id", client_secret = "my-s3cret", token_url = identity.token_url }
    for key, value in pairs(options or {}) do all[key] = value end
    return wgtwo.oauth.client_credentials(all)
  end

  local function until_(condition)
    local deadline = core.now() + 10
    while not condition() do
      assert(core.now() < deadline, "it did not happen")
      wgtwo.sleep(0.002)
    end
  end

  describe("client credentials", function()
    it("asks with Basic authentication and a form, and gives the token", function()
      local token = assert(new_source():token{ "b.scope", "a.scope" })
      local request = identity.requests[1]
      assert.equal("POST", request.method)
      assert.equal("/oauth2/token", request.path)
      assert.equal("my-id:my-s3cret", request.basic)
      assert.same({ grant_type = "client_credentials", scope = "b.scope a.scope" }, request.form)
      assert.equal("token-1", token.access_token)
      assert.equal("bearer", token.token_type)
      assert.equal("b.scope a.scope", token.scope)
      assert.equal(3599, token.expires_in)
      assert.is_true(math.abs(token.expires_at - core.time() - 3599) < 5)
    end)

    it("asks with form fields on request", function()
      assert(new_source{ auth_method = "client_secret_post" }:token())
      local request = identity.requests[1]
      assert.is_nil(request.basic)
      assert.same({ grant_type = "client_credentials", client_id = "my-id", client_secret = "my-s3cret" }, request.form)
    end)

    it("form-encodes id and secret before they become Basic credentials", function()
      assert(new_source{ client_id = "a b", client_secret = "c:d%/ö" }:token())
      assert.equal("a%20b:c%3Ad%25%2F%C3%B6", identity.requests[1].basic)
    end)

    it("caches by scope set, whatever its order and form", function()
      local source = new_source()
      local first = assert(source:token{ "a", "b" })
      assert.equal(first, assert(source:token{ "b", "a", "a" }))
      assert.equal(first, assert(source:token("b a")))
      assert.not_equal(first, assert(source:token{ "a" }))
      assert.not_equal(first, assert(source:token()))
      assert.equal(3, #identity.requests)
    end)

    it("keeps what was granted, though it was not what was asked for", function()
      identity.answers = { identity:good{ scope = "less" } }
      local source = new_source()
      assert.equal("less", assert(source:token{ "more", "less" }).scope)
      assert.equal("less", assert(source:token{ "more", "less" }).scope)
      assert.equal(1, #identity.requests)
    end)

    it("uses its own scopes where none are asked for", function()
      local source = new_source{ scopes = { "mine" } }
      assert(source:token())
      assert(source:token{ "other" })
      assert.equal("mine", identity.requests[1].form.scope)
      assert.equal("other", identity.requests[2].form.scope)
    end)

    it("makes one request, however many wait for it", function()
      identity.delay = 0.05
      local source, tokens = new_source(), {}
      wgtwo.run(function()
        for i = 1, 50 do
          wgtwo.spawn(function() tokens[i] = assert(source:token{ "a" }) end)
        end
      end)
      assert.equal(1, #identity.requests)
      for i = 2, 50 do assert.equal(tokens[1], tokens[i]) end
    end)

    it("tells all who wait of one failure", function()
      identity.delay = 0.02
      identity.answers = { { 401, JSON, '{"error":"invalid_client","error_description":"who?"}' } }
      local source, count = new_source(), 0
      wgtwo.run(function()
        for _ = 1, 5 do
          wgtwo.spawn(function()
            local token, err = source:token()
            assert.is_nil(token)
            assert.equal("invalid_client", err.code)
            count = count + 1
          end)
        end
      end)
      assert.equal(5, count)
      assert.equal(1, #identity.requests)
    end)

    it("renews within 120 s of the end, in the background, while the old token serves", function()
      identity.answers = { identity:good{ expires_in = 119 } }
      local source = new_source()
      local old = assert(source:token())
      identity.delay = 0.05
      assert.equal(old, assert(source:token()))
      assert.equal(old, assert(source:token()))
      assert.equal(old, source:peek())
      until_(function() return source:peek() ~= old end)
      assert.equal(2, #identity.requests)
      assert.equal("token-2", assert(source:token()).access_token)
    end)

    it("does not renew before that", function()
      identity.answers = { identity:good{ expires_in = 125 } }
      local source = new_source()
      local old = assert(source:token())
      assert.equal(old, assert(source:token()))
      wgtwo.sleep(0.02)
      assert.equal(1, #identity.requests)
    end)

    it("does not renew again and again a token that lives shorter than that", function()
      identity.answers = { identity:good{ expires_in = 60 }, identity:good{ expires_in = 60 } }
      local source = new_source()
      assert(source:token())
      source:token()
      until_(function() return assert(source:token()).access_token == "token-2" end)
      for _ = 1, 5 do
        source:token()
        wgtwo.sleep(0.005)
      end
      assert.equal(2, #identity.requests)
    end)

    it("keeps the old token when the renewal fails, until its end", function()
      identity.answers = { identity:good{ expires_in = 0.5 }, { 400, JSON, '{"error":"invalid_scope"}' },
        { 400, JSON, '{"error":"invalid_scope"}' } }
      local source = new_source()
      local old = assert(source:token())
      assert.equal(old, assert(source:token()))
      until_(function() return #identity.requests == 2 end)
      assert.equal(old, assert(source:token()))
      until_(function() return source:peek() == nil end)
      local token, err = source:token()
      assert.is_nil(token)
      assert.equal("invalid_scope", err.code)
    end)

    it("forgets on invalidate: all, or just one", function()
      local source = new_source()
      local first = assert(source:token())
      source:invalidate("another")
      assert.equal(first, assert(source:token()))
      source:invalidate(first.access_token)
      local second = assert(source:token())
      assert.equal("token-2", second.access_token)
      source:invalidate()
      assert.is_nil(source:peek())
      assert.equal("token-3", assert(source:token()).access_token)
    end)

    it("gives a timeout to a caller that has one; the request goes on", function()
      identity.delay = 0.1
      local source = new_source()
      local token, err = source:token(nil, 0.02)
      assert.is_nil(token)
      assert.equal("timeout", err.kind)
      assert.equal("token-1", assert(source:token()).access_token)
      assert.equal(1, #identity.requests)
    end)
  end)

  describe("faults", function()
    it("a timeout between two attempts hid what was wrong", function()
      identity.answers = { { 503, { ["Retry-After"] = "5" }, "" } }
      local _, err = new_source():token(nil, 0.5)
      assert.equal("timeout", err.kind)
      assert.matches("no token in time, so far: .*503", tostring(err))
    end)

    -- What one answer gives; the ones after it are good.
    local function answered(response, options)
      identity.answers = { response }
      return new_source(options):token()
    end

    for _, status in ipairs{ 429, 500, 502, 503 } do
      it("with " .. status .. " are tried again", function()
        assert.equal("token-1", assert(answered{ status, {}, "" }).access_token)
        assert.equal(2, #identity.requests)
      end)
    end

    it("are tried again after what Retry-After asks for", function()
      identity.answers = { { 429, { ["Retry-After"] = "1" }, "" } }
      assert(new_source():token())
      assert.is_true(identity.requests[2].at - identity.requests[1].at >= 0.99)
    end)

    it("are not waited out where Retry-After asks for too much", function()
      local token, err = answered{ 429, { ["Retry-After"] = "3600" }, "" }
      assert.is_nil(token)
      assert.equal(429, err.http_status)
      assert.equal(3600, err.retry_after)
      assert.matches("wait 3600 s", tostring(err))
      assert.equal(1, #identity.requests)
    end)

    it("are tried a bounded number of times", function()
      identity.answers = {}
      for i = 1, 9 do identity.answers[i] = { 503, { ["Retry-After"] = "0" }, "busy" } end
      wgtwo.limits.oauth.backoff.initial, wgtwo.limits.oauth.backoff.max = 0.01, 0.02
      local token, err = new_source():token()
      wgtwo.limits.oauth.backoff.initial, wgtwo.limits.oauth.backoff.max = 0.5, 30
      assert.is_nil(token)
      assert.equal(503, err.http_status)
      assert.equal(5, #identity.requests)
      assert.is_true(err.retryable)
    end)

    it("of the network are tried again, and say what is wrong", function()
      identity:close()
      wgtwo.limits.oauth.backoff.initial, wgtwo.limits.oauth.backoff.max = 0.01, 0.02
      local token, err = new_source():token()
      wgtwo.limits.oauth.backoff.initial, wgtwo.limits.oauth.backoff.max = 0.5, 30
      assert.is_nil(token)
      assert.equal("oauth", err.kind)
      assert.equal("unreachable", err.code)
      assert.equal(5, err.attempts)
      assert.matches("127.0.0.1", tostring(err))
    end)

    it("that are refusals are final", function()
      for code, status in pairs{ invalid_client = 401, invalid_scope = 400, unauthorized_client = 403 } do
        identity.requests = {}
        local token, err = answered{ status, JSON, ('{"error":"%s","error_description":"because"}'):format(code) }
        assert.is_nil(token)
        assert.equal(code, err.code)
        assert.equal(status, err.http_status)
        assert.equal("because", err.message)
        assert.is_false(err.retryable)
        assert.equal(1, #identity.requests)
      end
    end)

    for name, case in pairs{
      ["HTML"] = { { 200, { ["Content-Type"] = "text/html; charset=utf-8" }, "<html>log in</html>" },
        "19 bytes of text/html, not JSON" },
      ["HTML with 403"] = { { 403, { ["Content-Type"] = "text/html" }, "<html>" },
        "HTTP 403 with 6 bytes of text/html" },
      ["cut JSON"] = { { 200, JSON, '{"access_token":"abc' }, "broken JSON" },
      ["nothing"] = { { 200, JSON, "" }, "an empty body" },
      ["a list"] = { { 200, JSON, "[]" }, "access_token" },
      ["a number"] = { { 200, JSON, "1" }, "no object" },
      ["no access_token"] = { { 200, JSON, '{"token_type":"bearer"}' }, "no access_token" },
      ["a null access_token"] = { { 200, JSON, '{"access_token":null}' }, "no access_token" },
      ["a number as access_token"] = { { 200, JSON, '{"access_token":12}' }, "no access_token" },
      ["an access_token with a line break"] = { { 200, JSON, '{"access_token":"a\\nb"}' }, "no header may have" },
      ["another token_type"] = { { 200, JSON, '{"access_token":"a","token_type":"mac"}' }, '"mac"' },
      ["a redirect"] = { { 302, { Location = "https://example.com/" }, "" }, "redirects are not followed" },
      ["an error with 200"] = { { 200, JSON, '{"error":"invalid_scope","error_description":"odd"}' }, "odd" },
    } do
      it("in the answer, " .. name .. ", are told clearly", function()
        local token, err = answered(case[1])
        assert.is_nil(token)
        assert.equal("oauth", err.kind)
        assert.matches(case[2], err.message, 1, true)
        assert.equal(1, #identity.requests)
        assert.not_matches("\n", tostring(err))
      end)
    end

    for name, case in pairs{
      ["text"] = { '"3000"', 3000 }, ["missing"] = { false, 3599 }, ["null"] = { "null", 3599 },
      ["words"] = { '"soon"', 3599 }, ["negative"] = { "-5", 0 }, ["zero"] = { "0", 0 },
      ["a fraction"] = { "12.5", 12.5 }, ["huge"] = { "1e300", wgtwo.limits.timeout_max },
    } do
      it("in expires_in, " .. name .. ", are borne", function()
        local field = case[1] and (',"expires_in":' .. case[1]) or ""
        local token = assert(answered{ 200, JSON, '{"access_token":"a"' .. field .. "}" })
        assert.equal(case[2], token.expires_in)
      end)
    end

    it("in expires_in, no time at all, mean a token for one use", function()
      identity.answers = { identity:good{ expires_in = -5 } }
      local source = new_source()
      assert.equal("token-1", assert(source:token()).access_token)
      assert.equal("token-2", assert(source:token()).access_token)
    end)
  end)

  it("understands Retry-After as a date", function()
    local now = 784111777 -- Sun, 06 Nov 1994 08:49:37 GMT
    assert.equal(5, answer.retry_after("Sun, 06 Nov 1994 08:49:42 GMT", now))
    assert.equal(0, answer.retry_after("Sun, 06 Nov 1994 08:49:30 GMT", now))
    assert.equal(7, answer.retry_after(" 7 ", now))
    assert.is_nil(answer.retry_after("soon", now))
    assert.is_nil(answer.retry_after(nil, now))
  end)

  it("sends secrets to https, or to this machine", function()
    for _, url in ipairs{ "https://id.wgtwo.com/oauth2/token", "http://127.0.0.1:8080/x", "http://localhost/x",
      "http://[::1]:80/", "HTTPS://ID.EXAMPLE/", "http://127.9.9.9" } do
      assert.is_true(endpoint.check_url(url), url)
    end
    for _, url in ipairs{ "http://id.wgtwo.com/oauth2/token", "http://127.0.0.1.example.com/",
      "http://127.0.0.1@evil.com/",
      "ftp://localhost/", "id.wgtwo.com", "http://", "http://127.0.0.300/", "http://[::2]/", "https://a\nb/" } do
      assert.is_false((endpoint.check_url(url)), url)
    end
    assert.error_matches(function() new_source{ token_url = "http://example.com/token" } end, "in the clear")
  end)

  it("checks its options", function()
    assert.error_matches(function() wgtwo.oauth.client_credentials{ client_id = "x" } end, "client_secret is required")
    local ok, err = pcall(wgtwo.oauth.client_credentials, { client_id = "x", client_secret = 12345 })
    assert.is_false(ok)
    assert.not_matches("12345", err)
    assert.error_matches(function() new_source{ scope = "x" } end, "scopes")
    assert.error_matches(function() wgtwo.oauth.static("") end, "not empty")
    assert.error_matches(function() wgtwo.oauth.static("a b") end, "no header may have")
  end)

  it("takes a token from elsewhere", function()
    local source = wgtwo.oauth.static("abc")
    assert.equal("abc", source:token{ "any" }.access_token)
    source:invalidate()
    assert.equal("abc", source:peek().access_token)
  end)

  describe("authorization code", function()
    local function new_user(options)
      local all = { client_id = "my-id", client_secret = "my-s3cret", redirect_uri = "https://app.example/back",
        authorize_url = identity.url .. "/oauth2/auth", token_url = identity.token_url,
        revoke_url = identity.url .. "/oauth2/revoke", userinfo_url = identity.url .. "/userinfo" }
      for key, value in pairs(options or {}) do all[key] = value end
      return wgtwo.oauth.authorization_code(all)
    end

    it("makes the address to send the user to", function()
      local user = new_user{ scopes = { "openid", "phone" } }
      local url, state = user:authorize_url{ state = "12345678", nonce = "n 1", prompt = "consent" }
      assert.equal("12345678", state)
      assert.equal(identity.url .. "/oauth2/auth?response_type=code&client_id=my-id"
        .. "&redirect_uri=https%3A%2F%2Fapp.example%2Fback&scope=openid%20phone&state=12345678&nonce=n%201"
        .. "&prompt=consent", url)
      local _, first = user:authorize_url()
      local _, second = user:authorize_url()
      assert.is_true(#first >= 8)
      assert.not_equal(first, second)
      assert.error_matches(function() user:authorize_url{ state = "short" } end, "8 characters")
    end)

    it("says that there is no token before exchange", function()
      local token, err = new_user():token()
      assert.is_nil(token)
      assert.matches("authorize_url", tostring(err))
    end)

    it("exchanges the code, refreshes, and asks who the user is", function()
      identity.answers = { identity:good{ expires_in = 100, refresh_token = "r1", id_token = "i1" },
        identity:good{ refresh_token = "r2" }, { 200, JSON, '{"phone_number":"+4799990001","sub":"s"}' } }
      local user = new_user()
      local token = assert(user:exchange("the-code"))
      assert.equal("r1", token.refresh_token)
      assert.equal("i1", token.id_token)
      assert.same({ grant_type = "authorization_code", code = "the-code", redirect_uri = "https://app.example/back" },
        identity.requests[1].form)
      assert.equal(token, assert(user:token()))
      until_(function() return user:peek() ~= token end)
      assert.same({ grant_type = "refresh_token", refresh_token = "r1" }, identity.requests[2].form)
      local info = assert(user:userinfo())
      assert.equal("+4799990001", info.phone_number)
      assert.equal("Bearer " .. user:peek().access_token, identity.requests[3].authorization)
    end)

    it("does not repeat an exchange by itself", function()
      identity.answers = { { 503, {}, "" } }
      local token, err = new_user():exchange("the-code")
      assert.is_nil(token)
      assert.equal(503, err.http_status)
      assert.equal(1, #identity.requests)
    end)

    it("goes on with a refresh token that was kept, and revokes it", function()
      local user = new_user{ refresh_token = "kept" }
      assert.equal("token-1", assert(user:token()).access_token)
      assert.equal("kept", identity.requests[1].form.refresh_token)
      identity.answers = { { 200, {}, "" } }
      assert.is_true(user:revoke())
      assert.equal("/oauth2/revoke", identity.requests[2].path)
      assert.equal("kept", identity.requests[2].form.token)
      assert.is_nil((user:token()))
      assert.is_nil((user:revoke()))
    end)
  end)
end)
