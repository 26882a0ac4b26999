"""Small word lists in English and Portuguese: what is not a topic, what sounds glad or unhappy, what hedges or jokes."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTION_WORDS = _words(
    """
    a about above after again against all almost along already also although always am among an and another any anyone anything are
    aren't around as at away back be became because become been before behind being below besides between both but by came can can't
    cannot come could couldn't did didn't do does doesn't doing don't done down during each either else enough even ever every everyone
    everything except far few first for from front full further get gets getting give given gives go goes going gone got had has hasn't
    have haven't having he her here him his how however i i'd i'll i'm i've if in inside instead into is isn't it it's its itself just
    keep kept knew know last least less let like little lot lots made make makes making many may me might more most mostly much must my
    myself near need needed needs neither never next no none nor not nothing now of off often on once one ones only onto or other others
    our ours ourselves out over own part per put quite rather really right said same saw say second see seem seems seen several shall
    she should since so some someone something soon still stuff such sure take taken tell than thank thanks that that's the their them
    themselves then there there's these they they're thing things think third this those though three through thus till time times to
    together too took toward tried try trying two under until up upon us use used uses using usually very want wanted was wasn't way we
    we'd we'll we're we've well went were weren't what when where whether which while who whole whose why will with within without won't
    would wouldn't yes yet you you'd you'll you're you've your yourself yours o os um uma uns umas e de da dos das em na nos nas por
    para pra com sem que se ao aos à às é são era ser está estou estava tem tinha tenho meu minha meus minhas seu sua seus suas ele ela
    eles elas eu nós você vocês não sim mais menos muito muita muitos muitas bem já ainda só também mas ou como quando onde porque pois
    isso isto esse essa este esta aquele aquela nem até sobre entre depois tudo todo toda todos todas nada pouco pouca dia dias
    """
)

STOPWORDS = FUNCTION_WORDS | _words(  # and what people say of anything
    """
    day days week weeks month months year years today yesterday night nights hour hours minute minutes bought buy buying purchase
    purchased ordered order product item brand review reviews received receive started decided thought felt feel feels looking look
    looked looks coming found find told asked work works worked working stay stayed staying ive im dont didnt doesnt cant wont isnt
    wasnt definitely absolutely actually especially extremely super pretty bit kind sort read place hotel motel people person big small
    long short new old high low top left end side set money worth able hope hear dear please regards sincerely appreciate appreciated
    overall truly sorry seemed highly etc due taking expect expected expecting including included includes call called spent spend
    thrilled choose chose choosing chance noticed recently probably prior honestly supposed wish finally easily quickly exactly
    completely simply totally immediately literally basically certainly cause okay fact reason believe continue changed arrived gave
    seeing visited visiting booked checked later past ago twice guess leave leaves stop start run true real fully multiple certain
    various recent different available entire plus bring brought add ask hold keeps helps gotten saying happened sometimes everyday mine
    forward feedback experience star stars starred rated rating four five six seven eight nine ten dois duas três quatro cinco estrela
    estrelas ninguém msm mto otimos hoje agora sempre tive nao fiquei achei recebi comprar atende atendeu atendem indico deixa chegou
    chegar chega vem veio quer quero seja foi fosse fui deu dar ter otimo otima pratico tão assim além porem quanto apenas apesar vez
    vezes momento realmente demais bastante valeu vale pena parabéns esperado esperava quase algo tipo nenhum nenhuma outro outra outros
    outras dele dela dessa desse poderia deveria gostaria gosto gostou gostaram desde dentro após antes então aqui certo certa sei posso
    pode parece precisa preciso serve funciona funcionando usando usei utilizar cumpre promete superou recebida recebido conforme
    principalmente extremamente totalmente simplesmente perfeitamente exatamente quem mim anos mês meses ano data nota coisa pessoas
    loja site americanas o produto comprei compra ficou fica usar uso faz fazer fiz vai vou lhe te foram seria havia há pelo pela mesmo
    mesma cada qualquer
    """
)

GLAD = _words(
    """
    amazing awesome beautiful best better comfortable comfy convenient cute delicious delighted easy effective efficient enjoy enjoyable
    enjoyed enjoys excellent exceptional fabulous fantastic fast favorite favourite fine flawless fresh friendly fun glad good gorgeous
    great happy helpful ideal impressed impressive incredible love loved lovely loves loving nice outstanding perfect perfectly pleasant
    pleased pleasure quick quality recommend recommended refreshing reliable satisfied smooth soft spacious stunning sturdy superb tasty
    terrific top-notch wonderful wow yummy clean quiet cozy affordable welcoming polite courteous amei adorei adoro ama ame bom boa boas
    bons excelente excelentes gostei gostou lindo linda maravilhoso maravilhosa ótimo ótima ótimos ótimas perfeito perfeita prático
    prática rápido rápida recomendo satisfeito satisfeita feliz legal confortável bonito bonita fácil eficiente top show
    """
)

UNHAPPY = _words(
    """
    annoying avoid awful bad bland boring broke broken burned burnt cheap cheaply complain complained complaint crap cracked damaged
    dead defective dirty disappoint disappointed disappointing disappointment disgusting dissatisfied dry dusty expensive fail failed
    fails fake faulty filthy flimsy gross hard hate hated horrible horrid ignored itchy junk lacking leak leaked leaking leaks loud
    mediocre mess mildew missing mold moldy nasty noise noisy old outdated overpriced poor poorly problem problems refund regret return
    returned ridiculous rip-off rude ruined sad scam slow smelled smells smelly stale sticky stink stopped stuck terrible tired tiny
    ugly unacceptable uncomfortable unfortunately unhappy unpleasant useless waste wasted weak weird worn worse worst wrong lousy dated
    stained ruim ruins péssimo péssima horrível defeito defeituoso quebrado quebrada quebrou decepção decepcionado decepcionada
    decepcionante fraco fraca frágil problema problemas atraso demora demorou devolver devolução errado errada arrependi insatisfeito
    insatisfeita caro cara infelizmente estragado lento lenta
    """
)

NEGATIONS = _words(
    "not no never don't didn't doesn't isn't wasn't can't couldn't won't wouldn't weren't aren't hardly barely não nem nunca jamais sem"
)

WARM = _words(
    """
    love loved loves adore adorable thank thanks grateful family husband wife kids daughter son mom friends happy smile wonderful lovely
    sweet dear amo amei adorei família marido esposa filho filha obrigado obrigada carinho
    """
)

HEDGES = _words(
    "maybe perhaps somewhat probably possibly fairly guess seems seemed slightly overall though although talvez acho parece meio razoável"
)

JOKES = _words("haha hahaha lol lmao joke joking funny hilarious kidding kkk kkkk rs rsrs")
