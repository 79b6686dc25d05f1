// A pipeline's world, for the manual's shared-library step: the steps of Jenkins' plugins that it uses, over real HTTP.
// Arguments: the step's file, the family, the build. Prints what the step echoes and returns; ends with 1 on `error`.
import com.sun.net.httpserver.HttpServer
import java.util.concurrent.SynchronousQueue
import org.codehaus.groovy.control.CompilerConfiguration

abstract class Pipeline extends Script {
    def getEnv() { System.getenv() }

    def registerWebhook() {
        def told = new SynchronousQueue<String>()
        def server = HttpServer.create(new InetSocketAddress('127.0.0.1', env.HOOK_PORT as int), 0)
        server.createContext('/webhook-step/ci') { exchange ->
            def body = exchange.requestBody.getText('UTF-8')
            exchange.sendResponseHeaders(200, -1)
            exchange.close()
            told.put(body)
        }
        server.start()
        [url: "http://127.0.0.1:${env.HOOK_PORT}/webhook-step/ci".toString(), told: told, server: server]
    }

    def waitForWebhook(hook) {
        def body = hook.told.take()
        hook.server.stop(0)
        body
    }

    def httpRequest(Map asked) {
        def connection = new URL(asked.url.toString()).openConnection()
        connection.requestMethod = asked.httpMode
        connection.doOutput = true
        connection.setRequestProperty('Content-Type', 'application/json')
        asked.customHeaders.each { connection.setRequestProperty(it.name, it.value.toString()) }
        connection.outputStream.withWriter('UTF-8') { it << asked.requestBody }
        def (low, high) = asked.validResponseCodes.split(':').collect { it as int }
        def status = connection.responseCode
        if (status < low || status > high) { error "answered ${status}: ${connection.errorStream?.text}" }
    }

    def echo(text) { println text }

    def error(text) { println "ERROR ${text}"; System.exit(1) }
}

def (step, family, build) = args
def config = new CompilerConfiguration(scriptBaseClass: Pipeline.name)
def told = new GroovyShell(this.class.classLoader, new Binding(), config).parse(new File(step)).call(family: family, build: build)
println "returned ${told.verdict}"
